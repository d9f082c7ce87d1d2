/**
 * Uploads that have not come whole yet: at most one part a lease, never longer than its contribution, kept through
 * broken connections, restarts and kill -9 until it is complete and goes into the vault as a blob, or its lease ends.
 *
 * A part is the file `incoming/<lease>.<hash>.part`: what has been written is what is committed. It is not flushed
 * before it is complete; should a power failure lose some of it, the hash tells and the upload starts over.
 */
import { createHash, type Hash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { LIMITS } from '../../shared/protocol/limits.ts'
import type { Clock } from '../rounds/driver.ts'
import type { BlobStore } from './blobs.ts'
import { type Cut, Intake, type IntakeEnd } from './intake.ts'

/** What an upload says of itself. */
export interface Piece {
  readonly lease: string
  /** SHA-256 and exact length of the whole contribution. */
  readonly hash: string
  readonly bytes: number
  /** Where in it the body begins. */
  readonly offset: number
}

export type Received =
  /** The vault has it; or it can never be right, and its part is gone. */
  | { readonly result: 'stored' | 'wrong-length' | 'hash-mismatch' }
  /** What came stays. ahead: the offset lies beyond what is committed. */
  | { readonly result: 'ahead' | 'broken' | Cut; readonly committed: number }

export interface Partials {
  /** Bytes that have come for a lease; with a hash, only if they were begun with that hash. */
  committed(lease: string, hash?: string): number
  /**
   * Takes the bytes from `offset` on. An offset below what is committed goes back to it, and 0 or another hash starts
   * over. A lease has one upload at a time: a newer one takes over from where the older stops. If both promise the
   * same hash, the older waits for the newer one's end, and both are stored or neither.
   */
  receive(body: Readable, piece: Piece): Promise<Received>
  /** Ends the uploads and removes the parts of all other leases. Leases never reopen. */
  keepOnly(leases: readonly string[]): Promise<void>
  /** Cuts off what is still coming; what came stays. */
  close(): Promise<void>
}

interface Part {
  readonly hash: string
  readonly path: string
  committed: number
  /** Of exactly the committed bytes; null when that has to be read from the file. */
  hasher: Hash | null
}

interface Running {
  readonly hash: string
  readonly intake: Intake
  readonly done: Promise<Received>
}

const NAME = /^([A-Za-z0-9_-]{8,40})\.([0-9a-f]{64})\.part$/
const REREAD_BYTES = 256 * 1024

/** Parts beside the blobs of `vault`, which lie in `directory`; finds those of an earlier process. */
export async function openFilePartials(
  directory: string,
  vault: BlobStore,
  clock: Clock,
  idleSeconds: number = LIMITS.uploadIdleSeconds,
): Promise<Partials> {
  const folder = join(directory, 'incoming')
  const parts = new Map<string, Part>()
  /** The newest upload of each lease. */
  const running = new Map<string, Running>()
  for (const name of await readdir(folder)) await find(name)

  async function find(name: string): Promise<void> {
    const [, lease, hash] = NAME.exec(name) ?? []
    if (lease === undefined || hash === undefined) return
    const path = join(folder, name)
    if (parts.has(lease)) return rm(path, { force: true })
    parts.set(lease, { hash, path, committed: (await stat(path)).size, hasher: null })
  }

  function committed(lease: string, hash?: string): number {
    const part = parts.get(lease)
    return part === undefined || (hash ?? part.hash) !== part.hash ? 0 : part.committed
  }

  async function receive(body: Readable, piece: Piece): Promise<Received> {
    const { lease, hash } = piece
    const earlier = running.get(lease)
    earlier?.intake.cut('superseded')
    const intake = new Intake(body, clock, idleSeconds)
    const done = (earlier?.done ?? Promise.resolve())
      .catch(() => undefined) // the earlier one's own caller hears of it
      .then(() => take(intake, piece))
      .finally(() => intake.close())
    const own = { hash, intake, done }
    running.set(lease, own)
    try {
      const received = await done
      return received.result === 'superseded' ? await successor(piece) : received
    } finally {
      if (running.get(lease) === own) running.delete(lease)
    }
  }

  /** What becomes of an upload that a newer one took over. */
  async function successor({ lease, hash }: Piece): Promise<Received> {
    for (let newer = running.get(lease); newer?.hash === hash; newer = running.get(lease)) {
      const { result } = await newer.done
      if (result === 'stored') return { result }
      if (result !== 'superseded') break
    }
    const other = running.get(lease)
    const dropped = other !== undefined && other.hash !== hash
    return { result: 'superseded', committed: dropped ? 0 : committed(lease, hash) }
  }

  async function take(intake: Intake, { lease, hash, bytes, offset }: Piece): Promise<Received> {
    const stays = (result: 'ahead' | 'broken' | Cut): Received => ({
      result,
      committed: committed(lease, hash),
    })
    if (offset > committed(lease, hash)) return stays('ahead')
    if (intake.cutBy !== null) return stays(intake.cutBy)
    const part = await partFor(lease, hash)
    const end = await fill(part, intake, bytes, offset)
    if (end === 'too-long' || (end === 'ended' && part.committed < bytes)) {
      await remove(lease)
      return { result: 'wrong-length' }
    }
    return end === 'ended' ? publish(lease, part) : stays(end)
  }

  async function partFor(lease: string, hash: string): Promise<Part> {
    const kept = parts.get(lease)
    if (kept?.hash === hash) return kept
    await remove(lease)
    const part: Part = { hash, path: join(folder, `${lease}.${hash}.part`), committed: 0, hasher: null }
    parts.set(lease, part)
    return part
  }

  async function publish(lease: string, part: Part): Promise<Received> {
    const found = part.hasher?.digest('hex')
    part.hasher = null
    if (found !== part.hash) {
      await remove(lease)
      return { result: 'hash-mismatch' }
    }
    await vault.adopt(part.path, part.hash)
    parts.delete(lease)
    return { result: 'stored' }
  }

  async function remove(lease: string): Promise<void> {
    const part = parts.get(lease)
    if (part === undefined) return
    await rm(part.path, { force: true })
    parts.delete(lease)
  }

  async function keepOnly(leases: readonly string[]): Promise<void> {
    const kept = new Set(leases)
    const gone = [...parts.keys(), ...running.keys()].filter((lease) => !kept.has(lease))
    await Promise.all([...new Set(gone)].map(discard))
  }

  async function discard(lease: string): Promise<void> {
    await cutOff(lease, 'discarded')
    await remove(lease)
  }

  async function close(): Promise<void> {
    await Promise.all([...running.keys()].map((lease) => cutOff(lease, 'closing')))
  }

  async function cutOff(lease: string, reason: Cut): Promise<void> {
    const upload = running.get(lease)
    upload?.intake.cut(reason)
    await upload?.done.catch(() => undefined) // its own caller hears of it
  }

  return { committed, receive, keepOnly, close }
}

/** Writes what comes from `offset` on; flushed to the disk when it came to its end with the right length. */
async function fill(
  part: Part,
  intake: Intake,
  bytes: number,
  offset: number,
): Promise<IntakeEnd | 'too-long'> {
  const file = await open(part.path, constants.O_RDWR | constants.O_CREAT)
  try {
    const hasher = await rewind(part, file, offset)
    for (;;) {
      const chunk = await intake.next()
      if (chunk === 'ended' && part.committed === bytes) await file.sync()
      if (typeof chunk === 'string') return chunk
      if (part.committed + chunk.length > bytes) return 'too-long'
      await writeAll(file, chunk, part.committed)
      hasher.update(chunk)
      part.committed += chunk.length
    }
  } finally {
    await file.close()
  }
}

/** Cuts the part to `offset` bytes; answers their running hash. */
async function rewind(part: Part, file: FileHandle, offset: number): Promise<Hash> {
  if (offset !== part.committed) part.hasher = null
  part.committed = offset
  await file.truncate(offset) // a write that failed may have left more
  part.hasher ??= await hashOf(file, offset)
  return part.hasher
}

async function hashOf(file: FileHandle, bytes: number): Promise<Hash> {
  const hasher = createHash('sha256')
  if (bytes === 0) return hasher
  const range = { start: 0, end: bytes - 1, autoClose: false, highWaterMark: REREAD_BYTES }
  for await (const chunk of file.createReadStream(range)) hasher.update(chunk as Buffer) // no encoding is set
  return hasher
}

async function writeAll(file: FileHandle, chunk: Buffer, position: number): Promise<void> {
  for (let done = 0; done < chunk.length; ) {
    const { bytesWritten } = await file.write(chunk, done, chunk.length - done, position + done)
    done += bytesWritten
  }
}
