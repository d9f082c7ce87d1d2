/**
 * Uploads that have not been counted yet: at most one part a lease, never longer than its contribution, kept through
 * broken connections, restarts and kill -9 until its lease ends. Complete, it is in the vault as a blob as well.
 * RULES.md has what must hold, by number.
 *
 * A part is the file `incoming/<lease>.<hash>.part`: what has been written is what is committed. It only ever grows.
 * It is not flushed before it is complete; should a power failure lose some of it, the hash tells and the upload
 * starts over.
 */
import { createHash, type Hash, randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, link, open, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { LIMITS } from '../../shared/protocol/limits.ts'
import type { Clock } from '../rounds/driver.ts'
import type { BlobStore } from './blobs.ts'
import { type Cut, Intake, type IntakeEnd } from './intake.ts'
import { Lanes } from './lanes.ts'

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
   * Takes the bytes from `offset` on; those that are committed already are passed over, and another hash starts over.
   * A lease has one upload at a time: a newer one takes over from where the older stops. If both promise the same
   * hash, the older waits for the newer one's end, and both are stored or neither; when too many wait, the oldest
   * gives up.
   */
  receive(body: Readable, piece: Piece): Promise<Received>
  /** A stored contribution turned out unreadable: its part is hashed again before it is called stored again. */
  doubt(lease: string): void
  /** Whether a contribution of this hash is coming, or has come for a lease that is still open. */
  holds(hash: string): boolean
  /** Ends the uploads and removes the parts of these leases, if there are any. Leases never reopen. */
  drop(leases: Iterable<string>): Promise<void>
  /** Those of all others. */
  keepOnly(leases: Iterable<string>): Promise<void>
  /** Cuts off what is still coming and takes no more; what came stays. */
  close(): Promise<void>
}

interface Part {
  readonly hash: string
  readonly path: string
  committed: number
  /** Of exactly the committed bytes; null when that has to be read from the file. */
  hasher: Hash | null
  /** Complete, found to hash to its name, and in the vault. */
  stored: boolean
}

interface Upload {
  readonly piece: Piece
  readonly intake: Intake
  /** Settles when nothing of it is written any more. */
  readonly done: Promise<Received>
  /** Ends its wait for a newer one. */
  readonly giveUp: () => void
  readonly givenUp: Promise<void>
}

const NAME = /^([A-Za-z0-9_-]{8,40})\.([0-9a-f]{64})\.part$/
const REREAD_BYTES = 256 * 1024
/**
 * Chunks that are written and hashed at once, of all uploads. Many chunks in one turn of the event loop hold up
 * everything else: with 64 uploads on two busy cores, all at once make its 99th percentile 110 ms, six at a time 50 ms.
 */
const CHUNKS_AT_ONCE = 6

/** Parts beside the blobs of `vault`, which lie in `directory`; finds those of an earlier process. */
export async function openFilePartials(
  directory: string,
  vault: BlobStore,
  clock: Clock,
  idleSeconds: number = LIMITS.uploadIdleSeconds,
): Promise<Partials> {
  const folder = join(directory, 'incoming')
  const parts = new Map<string, Part>()
  const lanes = new Lanes(CHUNKS_AT_ONCE)
  /** The open uploads of each lease, oldest first. */
  const uploads = new Map<string, Upload[]>()
  let closed = false
  for (const name of await readdir(folder)) await find(name)

  async function find(name: string): Promise<void> {
    const [, lease, hash] = NAME.exec(name) ?? []
    if (lease === undefined || hash === undefined) return
    const path = join(folder, name)
    if (parts.has(lease)) return rm(path, { force: true })
    const { size } = await stat(path)
    parts.set(lease, { hash, path, committed: size, hasher: null, stored: false })
  }

  function committed(lease: string, hash?: string): number {
    const part = parts.get(lease)
    return part === undefined || (hash ?? part.hash) !== part.hash ? 0 : part.committed
  }

  function holds(hash: string): boolean {
    const kept = [...parts.values()].some((part) => part.hash === hash)
    return kept || [...uploads.values()].some((open) => open.some(({ piece }) => piece.hash === hash))
  }

  const newest = (lease: string): Upload | undefined => uploads.get(lease)?.at(-1)

  async function receive(body: Readable, piece: Piece): Promise<Received> {
    if (closed) return { result: 'closing', committed: committed(piece.lease, piece.hash) }
    const own = begin(body, piece)
    try {
      return await outcome(own)
    } finally {
      leave(own)
    }
  }

  function begin(body: Readable, piece: Piece): Upload {
    const earlier = newest(piece.lease)
    earlier?.intake.cut('superseded')
    const intake = new Intake(body, clock, idleSeconds)
    const done = (earlier?.done ?? Promise.resolve())
      .catch(() => undefined) // the earlier one's own caller hears of it
      .then(() => take(intake, piece))
      .finally(() => intake.close())
    let giveUp: () => void = () => undefined
    const givenUp = new Promise<void>((resolve) => {
      giveUp = resolve
    })
    const own = { piece, intake, done, giveUp, givenUp }
    const open = [...(uploads.get(piece.lease) ?? []), own]
    if (open.length > LIMITS.uploadsPerLease) open.shift()?.giveUp()
    uploads.set(piece.lease, open)
    return own
  }

  function leave(own: Upload): void {
    const { lease } = own.piece
    const left = uploads.get(lease)?.filter((other) => other !== own) ?? []
    if (left.length > 0) uploads.set(lease, left)
    else uploads.delete(lease)
  }

  /** What becomes of an upload, also when newer ones take it over. */
  async function outcome({ piece, done, givenUp }: Upload): Promise<Received> {
    const received = await Promise.race([done, givenUp])
    if (received && received.result !== 'superseded') return received
    if (received && (await Promise.race([storedByNewer(piece), givenUp]))) return { result: 'stored' }
    const { lease, hash } = piece
    const other = newest(lease)
    const dropped = other !== undefined && other.piece.hash !== hash
    return { result: 'superseded', committed: dropped ? 0 : committed(lease, hash) }
  }

  async function storedByNewer({ lease, hash }: Piece): Promise<boolean> {
    for (let newer = newest(lease); newer?.piece.hash === hash; newer = newest(lease)) {
      const { result } = await newer.done
      if (result !== 'superseded') return result === 'stored'
    }
    return false
  }

  async function take(intake: Intake, { lease, hash, bytes, offset }: Piece): Promise<Received> {
    const stays = (result: 'ahead' | 'broken' | Cut): Received => ({
      result,
      committed: committed(lease, hash),
    })
    if (offset > committed(lease, hash)) return stays('ahead')
    if (intake.cutBy !== null) return stays(intake.cutBy)
    const part = await partFor(lease, hash)
    if (part.stored) return { result: 'stored' }
    const end = await fill(part, intake, { bytes, offset }, lanes)
    if (end === 'too-long' || end === 'too-short') {
      await remove(lease)
      return { result: 'wrong-length' }
    }
    return end === 'ended' ? publish(lease, part) : stays(end)
  }

  async function partFor(lease: string, hash: string): Promise<Part> {
    const kept = parts.get(lease)
    if (kept?.hash === hash) return kept
    await remove(lease)
    const path = join(folder, `${lease}.${hash}.part`)
    const part: Part = { hash, path, committed: 0, hasher: null, stored: false }
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
    if (await share(part)) part.stored = true
    else parts.delete(lease)
    return { result: 'stored' }
  }

  /** Gives the vault the part's file under a name of its own. False: there can be only one name, and the vault has it. */
  async function share({ path, hash }: Part): Promise<boolean> {
    const second = join(folder, randomUUID())
    const shared = await link(path, second).then(
      () => true,
      () => false, // exFAT and some network folders have no links
    )
    await vault.adopt(shared ? second : path, hash)
    await rm(second, { force: true }) // a rename between two names of one file leaves both
    return shared
  }

  async function remove(lease: string): Promise<void> {
    const part = parts.get(lease)
    if (part === undefined) return
    await rm(part.path, { force: true })
    parts.delete(lease)
  }

  function doubt(lease: string): void {
    const part = parts.get(lease)
    if (part) part.stored = false
  }

  async function keepOnly(leases: Iterable<string>): Promise<void> {
    const kept = new Set(leases)
    await drop([...parts.keys(), ...uploads.keys()].filter((lease) => !kept.has(lease)))
  }

  async function drop(leases: Iterable<string>): Promise<void> {
    await Promise.all(Array.from(new Set(leases), discard))
  }

  async function discard(lease: string): Promise<void> {
    await cutOff(lease, 'discarded')
    await remove(lease)
  }

  async function close(): Promise<void> {
    closed = true
    await Promise.all([...uploads.keys()].map((lease) => cutOff(lease, 'closing')))
  }

  /** The newest waits for all before it. */
  async function cutOff(lease: string, reason: Cut): Promise<void> {
    const upload = newest(lease)
    upload?.intake.cut(reason)
    await upload?.done.catch(() => undefined) // its own caller hears of it
  }

  return { committed, holds, receive, doubt, drop, keepOnly, close }
}

/** Writes what is new of the body; flushed to the disk when it came to its end with the right length. */
async function fill(
  part: Part,
  intake: Intake,
  { bytes, offset }: Pick<Piece, 'bytes' | 'offset'>,
  lanes: Lanes,
): Promise<IntakeEnd | 'too-long' | 'too-short'> {
  const file = await open(part.path, constants.O_RDWR | constants.O_CREAT)
  try {
    await file.truncate(part.committed) // a write that failed may have left more
    const hasher = part.hasher ?? (await hashOf(file, part.committed))
    part.hasher = hasher
    for (let position = offset; ; ) {
      const chunk = await intake.next()
      if (chunk === 'ended' && position < bytes) return 'too-short'
      if (chunk === 'ended') await file.sync()
      if (typeof chunk === 'string') return chunk
      if (position + chunk.length > bytes) return 'too-long'
      const fresh = chunk.subarray(Math.max(0, part.committed - position))
      position += chunk.length
      await lanes.through(async () => {
        await writeAll(file, fresh, part.committed)
        hasher.update(fresh)
        part.committed += fresh.length
      })
    }
  } finally {
    await file.close()
  }
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
