/** The first pass: every part is read once, front to back, and each document goes to its bucket. */
import { stat } from 'node:fs/promises'
import { PotluckError } from '../../../shared/protocol/errors.ts'
import type { Item } from '../read/item.ts'
import { readDocuments } from '../read/read.ts'
import { fileSource } from '../read/source.ts'
import { Buckets } from './buckets.ts'
import type { ImportParts, ImportRequest } from './importCorpus.ts'
import type { Progress } from './progress.ts'
import { placing } from './scheme.ts'
import type { ImportState, Part } from './state.ts'

const STATE_EVERY = 256 * 2 ** 20
const EXAMPLES = 5

export interface ScatterParts extends Pick<ImportParts, 'bring' | 'stateEvery'> {
  readonly request: ImportRequest
  readonly folder: string
  readonly progress: Progress
  readonly save: (state: ImportState) => Promise<void>
}

export async function scatter(before: ImportState, parts: ScatterParts): Promise<ImportState> {
  const state = structuredClone(before)
  const buckets = new Buckets(parts.folder, state.lengths)
  try {
    while (state.part < state.parts.length) {
      const part = state.parts[state.part] as Part // below their number
      if (!(await areSame([part])))
        throw new PotluckError(
          'bad-corpus',
          `${part.name} has changed while it was imported. Import it again.`,
        )
      const brought = await parts.bring(part, parts.folder)
      await readPart(state, part, brought.path, buckets, parts)
      state.part += 1
      state.items = 0
      state.lengths = buckets.sync()
      await parts.save(state)
      await brought.done()
    }
  } finally {
    buckets.close()
  }
  return state
}

async function readPart(
  state: ImportState,
  part: Part,
  path: string,
  buckets: Buckets,
  { request, progress, save, stateEvery = STATE_EVERY }: ScatterParts,
): Promise<void> {
  const place = placing({ ...state, seed: request.seed })
  const what = state.parts.length > 1 ? `reading part ${state.part + 1} of ${state.parts.length}` : 'reading'
  let read = 0
  const source = await fileSource(
    path,
    (bytes) => {
      read += bytes
      progress.show(what, read, source.size)
    },
    part.name,
  )
  let skip = state.items
  let unsaved = 0
  for await (const items of readDocuments(source, request.read)) {
    for (const item of items) {
      if (skip > 0) {
        skip -= 1
        continue
      }
      state.items += 1
      unsaved += take(state, item, part, place, buckets)
    }
    if (unsaved >= stateEvery) {
      unsaved = 0
      state.lengths = buckets.sync()
      await save(state)
    }
  }
}

/** Returns the bytes it took. */
function take(
  state: ImportState,
  item: Item,
  { name, split }: Part,
  place: ReturnType<typeof placing>,
  buckets: Buckets,
): number {
  if (item.kind === 'broken') {
    state.broken += 1
    if (state.brokenExamples.length < EXAMPLES)
      state.brokenExamples.push(`${name}, ${item.place}: ${item.why}`)
    return 0
  }
  if (state.kind !== null && state.kind !== item.kind)
    throw new PotluckError('bad-corpus', `${name} holds ${item.kind}, the parts before it ${state.kind}.`)
  state.kind = item.kind
  const bytes = item.kind === 'text' ? Buffer.from(item.text) : bytesOf(item.ids)
  if (split === 'validation') buckets.add(state.buckets, bytes)
  else {
    const to = place(state.numbered)
    state.numbered += 1
    buckets.add(to === 'validation' ? state.buckets : to, bytes)
  }
  return bytes.length
}

const bytesOf = (ids: Uint16Array): Uint8Array => new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength)

/** False when a file here has changed: it would be read on from the wrong place. */
export async function areSame(parts: readonly Part[]): Promise<boolean> {
  for (const { from, size } of parts) {
    if (!('path' in from)) continue
    const info = await stat(from.path).catch(() => null)
    if (info?.size !== size || info.mtimeMs !== from.modified) return false
  }
  return true
}
