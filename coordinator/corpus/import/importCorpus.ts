/**
 * The import of a corpus, from files to shards of shuffled tokens: reads every part once and throws its documents into
 * buckets (scatter.ts); trains a tokenizer on the first buckets, which are a fair sample; then shuffles bucket by bucket
 * and tokenises (shuffle.ts). Holds little whatever the size, and goes on where a killed process was.
 */
import { createHash } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { PotluckError } from '../../../shared/protocol/errors.ts'
import { tokenizerFromJSON, tokenizerToBytes } from '../../../shared/tokenizer/json.ts'
import { Tokenizer } from '../../../shared/tokenizer/tokenizer.ts'
import { trainTokenizer } from '../../../shared/tokenizer/train.ts'
import type { BlobStore } from '../../store/blobs.ts'
import { lockFolder } from '../../store/lock.ts'
import { indexToBytes } from '../corpusIndex.ts'
import { formatOf, type ReadOptions } from '../read/read.ts'
import { recordsOf } from './buckets.ts'
import type { Progress } from './progress.ts'
import { areSame, scatter } from './scatter.ts'
import { LEAST_DOCUMENTS, schemeFor } from './scheme.ts'
import { shuffle } from './shuffle.ts'
import { type ImportState, type Part, readState, writeState } from './state.ts'

export interface ImportRequest {
  readonly name: string
  readonly licence: string
  readonly vocabSize: number
  readonly seed: string
  readonly read: ReadOptions
  /** Used instead of a new one. */
  readonly tokenizer: Tokenizer | null
  /** What makes this import another than the last: its arguments. */
  readonly identity: unknown
}

export interface ImportParts {
  readonly blobs: BlobStore
  /** Where imports under way keep what they need. */
  readonly folder: string
  readonly progress: Progress
  /** The part as a file on disk; `done` drops it when it was brought here only to be read. */
  readonly bring: (part: Part, folder: string) => Promise<{ readonly path: string; done(): Promise<void> }>
  /** Told after every state that is on disk; tests end the process here. */
  readonly saved?: (state: ImportState) => void
  /** Bytes of text between two states, and buckets; tests have them small and many. */
  readonly stateEvery?: number
  readonly buckets?: number
}

export interface Imported {
  /** Of the index's blob. */
  readonly index: string
  readonly licence: string
  readonly documents: number
  /** In training shards, end-of-text included, and the bytes of text that they stand for. */
  readonly tokens: number
  readonly bytes: number
  readonly validationTokens: number
  readonly broken: number
  readonly brokenExamples: readonly string[]
  readonly sample: string
}

/** Text a tokenizer is trained on, in bytes. */
const TRAINING_TEXT = 16 * 2 ** 20
/** Of 32,768 ids 32,000 are bytes and merges; the others are end-of-text and room for special tokens. */
const [PAPER_VOCAB, PAPER_TOKENS] = [32_768, 32_000]

/**
 * @param parts asked only when there is nothing to go on with.
 * @throws PotluckError `bad-corpus` and others, in words for the operator.
 */
export async function importCorpus(
  request: ImportRequest,
  { blobs, folder: root, progress, ...ports }: ImportParts,
  parts: () => Promise<{ readonly parts: readonly Part[]; readonly licence: string }>,
): Promise<Imported> {
  const folder = join(
    root,
    createHash('sha256').update(JSON.stringify(request.identity)).digest('hex').slice(0, 16),
  )
  await mkdir(folder, { recursive: true })
  const unlock = await lockFolder(folder, 'another import of the same corpus')
  try {
    const save = async (next: ImportState) => {
      await writeState(folder, next)
      ports.saved?.(next)
    }
    const earlier = await readState(folder)
    const mayGoOn = earlier !== null && (earlier.tokenizer !== null || (await areSame(earlier.parts)))
    let state = mayGoOn ? earlier : await begin(request, folder, await parts(), ports.buckets)
    if (state.tokenizer === null) {
      state = await scatter(state, { ...ports, request, folder, progress, save })
      requireDocuments(state)
      const tokenizer = request.tokenizer ?? trained(state, folder, request, progress)
      state = { ...state, tokenizer: await blobs.put(tokenizerToBytes(tokenizer)) }
      await save(state)
    }
    const tokenizer = tokenizerFromJSON(await blobs.get(state.tokenizer ?? ''))
    state = await shuffle(state, { folder, blobs, tokenizer, seed: request.seed, progress, save })
    progress.end()
    const { name, vocabSize } = request
    const { licence, training, validation } = state
    const shards = { tokenizer: state.tokenizer ?? '', training, validation }
    const index = await blobs.put(indexToBytes({ version: 1, name, licence, vocabSize, ...shards }))
    await rm(folder, { recursive: true })
    const { documents, tokens, bytes, validationTokens, broken, brokenExamples, sample } = state
    return { index, licence, documents, tokens, bytes, validationTokens, broken, brokenExamples, sample }
  } finally {
    await unlock()
  }
}

async function begin(
  request: ImportRequest,
  folder: string,
  { parts, licence }: { readonly parts: readonly Part[]; readonly licence: string },
  wanted: number | undefined,
): Promise<ImportState> {
  const own = parts.some(({ split }) => split === 'validation')
  const { buckets: usual, every } = schemeFor(expectedText(parts), request.seed, own)
  const buckets = wanted ?? usual
  const state: ImportState = {
    version: 1,
    parts: [...parts],
    licence: request.licence || licence,
    ...{ buckets, every, kind: null, part: 0, items: 0, numbered: 0 },
    lengths: Array.from({ length: buckets + 1 }, () => 0),
    ...{ broken: 0, brokenExamples: [], tokenizer: null, bucketsDone: 0, training: [], validation: [] },
    ...{ documents: 0, tokens: 0, bytes: 0, validationTokens: 0, sample: '' },
  }
  await writeState(folder, state)
  return state
}

/** What packed files hold is guessed. */
function expectedText(parts: readonly Part[]): number {
  const swells = ({ name }: Part) => (formatOf(name)?.gzip || name.endsWith('.parquet') ? 2.5 : 1)
  return parts.reduce((sum, part) => sum + (part.size ?? 2 ** 30) * swells(part), 0)
}

function requireDocuments({ numbered, broken, brokenExamples, lengths }: ImportState): void {
  const some =
    brokenExamples[0] === undefined ? '' : ` ${broken} were broken; the first is ${brokenExamples[0]}.`
  if (numbered < LEAST_DOCUMENTS)
    throw new PotluckError(
      'bad-corpus',
      `There are ${numbered} documents; it takes ${LEAST_DOCUMENTS}, because some are kept for validation. Plain text is cut into documents at --separator, for example --separator '\\n\\n'.${some}`,
    )
  if (lengths.at(-1) === 0) throw new PotluckError('bad-corpus', `There is no validation text.${some}`)
}

function trained(
  state: ImportState,
  folder: string,
  { vocabSize }: ImportRequest,
  progress: Progress,
): Tokenizer {
  progress.show('training the tokenizer', 0, 0)
  const tokens = vocabSize === PAPER_VOCAB ? PAPER_TOKENS + 1 : vocabSize
  const { merges } = trainTokenizer(sampleOf(state, folder), tokens)
  return new Tokenizer(merges, vocabSize)
}

function* sampleOf({ buckets }: ImportState, folder: string): Generator<string> {
  let left = TRAINING_TEXT
  for (let bucket = 0; bucket < buckets && left > 0; bucket++) {
    for (const record of recordsOf(folder, bucket, null)) {
      yield record.toString('utf8')
      left -= record.length
      if (left <= 0) return
    }
  }
}
