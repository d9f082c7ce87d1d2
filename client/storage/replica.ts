/**
 * What a replica must not lose when its tab reloads: the error feedback (what the codec left out of the last
 * contribution) and the inner optimiser's moments. One file a run; one tab of a browser contributes at a time
 * (client/swarm/tabLock.ts), so nobody else writes it. Not the weights: those are blobs (weights.ts).
 *
 *   bytes 0..7    'potluckR'
 *   bytes 8..11   u32 version, 1
 *   bytes 12..15  u32 length of the header
 *   bytes 16..47  SHA-256 of the header
 *   then          the header: JSON with the names, the lengths and each array's SHA-256
 *   then          f32 residual, first moment, second moment
 *
 * All numbers are little endian. The folder swaps a new file in only when it is whole (folder.ts); the hashes are for
 * disks that lie. Whatever does not match to the last byte reads as null, and the replica starts anew. The arrays go
 * to the disk and come back one by one, because three of them may be all that a page's memory can take.
 */
import { z } from 'zod'
import type { OptimiserState } from '../../shared/engine/engine.ts'
import { blobStore } from './blobStore.ts'
import { bytesOf, floatsOf } from './floatBytes.ts'
import { type Folder, isNamed, originFolder } from './folder.ts'
import { sha256 } from './sha256.ts'

export interface ReplicaState {
  readonly run: string
  readonly volunteer?: string
  /** The round that comes next, or whatever the caller counts by. */
  readonly round: number
  /** Error feedback in layout order; empty when none is used. */
  readonly residual: Float32Array<ArrayBuffer>
  readonly optimiser: OptimiserState
}

const MAGIC = new TextEncoder().encode('potluckR')
const VERSION = 1
const PREFIX = 48
/** Far above any real header. */
const LONGEST_HEADER = 64 * 1024
const count = z.number().int().nonnegative()
const headerSchema = z.strictObject({
  run: z.string(),
  volunteer: z.string().optional(),
  round: count,
  updates: count,
  /** Residual, first moment, second moment. */
  arrays: z.array(z.strictObject({ length: count, sha256: z.string() })).length(3),
})
type Header = z.infer<typeof headerSchema>

export class ReplicaStore {
  readonly #folder: Folder
  readonly #makeRoom: () => Promise<void>
  #writing: Promise<unknown> | null = null
  #waiting: Waiting | null = null

  /** `makeRoom` frees disk when it is full. */
  constructor(folder: Folder, makeRoom: () => Promise<void>) {
    this.#folder = folder
    this.#makeRoom = makeRoom
  }

  /**
   * Resolves true when the state is on disk; false when there is no room or no storage, or when a later save took
   * its place before it began. The arrays must not change or be transferred until then. Never rejects.
   */
  save(state: ReplicaState): Promise<boolean> {
    this.#waiting?.done(false)
    return new Promise((done) => {
      this.#waiting = { state, done }
      this.#writing ??= this.#writeAll()
    })
  }

  /** Null when there is none, when it is torn or of an older format, or when its arrays are of another length. */
  load(run: string, parameters: number): Promise<ReplicaState | null> {
    return this.#read(run, parameters).catch(() => null) // no storage, or a file replaced while it was read
  }

  /** Deletes every replica but that of one run; with null, all. */
  async forget(exceptRun: string | null): Promise<void> {
    if (this.#waiting !== null && this.#waiting.state.run !== exceptRun) {
      this.#waiting.done(false)
      this.#waiting = null
    }
    await this.#writing
    const kept = exceptRun === null ? null : fileOf(exceptRun)
    const files = await this.#folder.list().catch(() => [])
    for (const { name } of files) if (name !== kept) await this.#folder.remove(name).catch(() => undefined)
  }

  async #writeAll(): Promise<void> {
    for (let next = this.#waiting; next !== null; next = this.#waiting) {
      this.#waiting = null
      next.done(await this.#write(next.state).catch(() => false))
    }
    this.#writing = null
  }

  async #write(state: ReplicaState): Promise<boolean> {
    if (!(await this.#folder.usable())) return false
    const arrays = arraysOf(state).map(bytesOf)
    const header = await headerOf(state, arrays)
    const write = () => this.#folder.write(fileOf(state.run), [header, ...arrays])
    try {
      await write()
    } catch (error) {
      if (!isNamed(error, 'QuotaExceededError')) throw error
      await this.#makeRoom()
      await write()
    }
    return true
  }

  async #read(run: string, parameters: number): Promise<ReplicaState | null> {
    const file = await this.#folder.open(fileOf(run))
    const found = file && (await readHeader(file))
    if (!found || found.header.run !== run || !fits(found.header, parameters)) return null
    const arrays: Float32Array<ArrayBuffer>[] = []
    let at = found.end
    for (const { length, sha256: hash } of found.header.arrays) {
      const bytes = await bytesIn(file, at, at + 4 * length)
      if (bytes.length !== 4 * length || (await sha256(bytes)) !== hash) return null
      arrays.push(floatsOf(bytes))
      at += 4 * length
    }
    const [residual, firstMoment, secondMoment] = arrays
    if (!residual || !firstMoment || !secondMoment || at !== file.size) return null
    const { volunteer, round, updates } = found.header
    return { run, volunteer, round, residual, optimiser: { firstMoment, secondMoment, updates } }
  }
}

interface Waiting {
  readonly state: ReplicaState
  readonly done: (written: boolean) => void
}

const fileOf = (run: string): string => `${encodeURIComponent(run)}.replica`

const arraysOf = ({ residual, optimiser }: ReplicaState) => [
  residual,
  optimiser.firstMoment,
  optimiser.secondMoment,
]

/** The prefix and the header: all that comes before the arrays. */
async function headerOf(state: ReplicaState, arrays: readonly Uint8Array<ArrayBuffer>[]) {
  const { run, volunteer, round, optimiser } = state
  const described: Header['arrays'] = []
  for (const bytes of arrays) described.push({ length: bytes.length / 4, sha256: await sha256(bytes) })
  const header: Header = { run, volunteer, round, updates: optimiser.updates, arrays: described }
  const json = new TextEncoder().encode(JSON.stringify(header))
  const bytes = new Uint8Array(PREFIX + json.length)
  const view = new DataView(bytes.buffer)
  bytes.set(MAGIC)
  view.setUint32(8, VERSION, true)
  view.setUint32(12, json.length, true)
  bytes.set(new Uint8Array(await crypto.subtle.digest('SHA-256', json)), 16)
  bytes.set(json, PREFIX)
  return bytes
}

async function readHeader(file: Blob): Promise<{ header: Header; end: number } | null> {
  const prefix = await bytesIn(file, 0, PREFIX)
  if (prefix.length < PREFIX || !same(prefix.subarray(0, 8), MAGIC)) return null
  const view = new DataView(prefix.buffer)
  const end = PREFIX + view.getUint32(12, true)
  if (view.getUint32(8, true) !== VERSION || end > LONGEST_HEADER) return null
  const json = await bytesIn(file, PREFIX, end)
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', json))
  if (!same(digest, prefix.subarray(16, 48))) return null
  return { header: headerSchema.parse(JSON.parse(new TextDecoder().decode(json))), end }
}

function fits({ arrays: [residual, ...moments] }: Header, parameters: number): boolean {
  const plausible = residual?.length === 0 || residual?.length === parameters
  return plausible && moments.every(({ length }) => length === parameters)
}

async function bytesIn(file: Blob, start: number, end: number): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await file.slice(start, end).arrayBuffer())
}

const same = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((value, i) => value === b[i])

const replicas = new ReplicaStore(originFolder('replicas'), () => blobStore.clearUnused())

/** See ReplicaStore.save. */
export const saveReplica = (state: ReplicaState): Promise<boolean> => replicas.save(state)
/** See ReplicaStore.load. */
export const loadReplica = (run: string, parameters: number): Promise<ReplicaState | null> =>
  replicas.load(run, parameters)
/** See ReplicaStore.forget. */
export const forgetReplicas = (exceptRun: string | null): Promise<void> => replicas.forget(exceptRun)
