/**
 * The blobs that this browser keeps on disk, by their SHA-256: whole ones, and the first pieces of one that is still
 * arriving. It downloads nothing (blobs.ts does). Without a usable folder it holds nothing and says so; no error of
 * the disk reaches the caller, because every blob can be fetched again.
 *
 *   <hash>            a whole blob
 *   <hash>.used       empty; the time it was written is the blob's last use
 *   <hash>.<i>.part   bytes i·PART_BYTES up to (i+1)·PART_BYTES of a blob on its way
 *
 * Pieces are files of a fixed size rather than one growing file: `createWritable` copies a file to append to it, and
 * two tabs that fetch the same blob write the same pieces.
 */
import { type Folder, isNamed, originFolder } from './folder.ts'
import { sha256 } from './sha256.ts'

export const STORE_LIMITS = {
  /** Blobs together, however much room there is. */
  mostBytes: 2 * 1024 ** 3,
  /** Blobs together, and the origin as a whole, as a share of what the browser grants. */
  shareOfQuota: 0.25,
  /** Of one file of an unfinished blob: what a reload loses at most. */
  partBytes: 4 * 1024 ** 2,
  /** Written between two looks at the whole folder. */
  bytesBetweenCounts: 64 * 1024 ** 2,
} as const

const NAME = /^([0-9a-f]{64})(?:\.used|\.\d+\.part)?$/

/** What the origin uses and may use, in bytes; the browser may not tell. */
export type Estimate = () => Promise<{ usage?: number; quota?: number }>

const browserEstimate: Estimate = async () => (await navigator.storage?.estimate?.()) ?? {}

export interface StoreOptions {
  readonly estimate?: Estimate
  readonly partBytes?: number
}

export class BlobStore {
  readonly partBytes: number
  readonly #folder: Folder
  readonly #estimate: Estimate
  /** Found to match their names since the page was opened. */
  readonly #verified = new Set<string>()
  #inUse: ReadonlySet<string> = new Set()
  #uncounted: number = STORE_LIMITS.bytesBetweenCounts
  /** The disk refused even after a hard prune; nothing is written until the next prune. */
  #full = false

  constructor(folder: Folder, options: StoreOptions = {}) {
    this.#folder = folder
    this.#estimate = options.estimate ?? browserEstimate
    this.partBytes = options.partBytes ?? STORE_LIMITS.partBytes
  }

  usable(): Promise<boolean> {
    return this.#folder.usable()
  }

  /** The blob's bytes, or null when it is not here. A damaged file is deleted. */
  async read(hash: string): Promise<Uint8Array<ArrayBuffer> | null> {
    const bytes = await this.#bytesOf(hash)
    if (bytes === null) return null
    if (!this.#verified.has(hash) && (await sha256(bytes)) !== hash) {
      await this.remove(hash)
      return null
    }
    this.#verified.add(hash)
    await this.#attempt(() => this.#folder.write(`${hash}.used`, []))
    return bytes
  }

  /** Whether the bytes, which the caller has verified, are now on disk. */
  async keep(hash: string, bytes: Uint8Array<ArrayBuffer>): Promise<boolean> {
    if (bytes.length > (await this.#limit()).blobs) return false
    if (!(await this.#write(hash, bytes))) return false
    this.#uncounted += bytes.length
    if (this.#uncounted >= STORE_LIMITS.bytesBetweenCounts) await this.#shrink(new Set([hash]))
    return true
  }

  async remove(hash: string): Promise<void> {
    this.#verified.delete(hash)
    await this.#attempt(() => this.#folder.remove(hash))
    await this.#attempt(() => this.#folder.remove(`${hash}.used`))
  }

  /** The pieces of an unfinished blob that follow one another from its first byte. */
  async parts(hash: string): Promise<Uint8Array<ArrayBuffer>[]> {
    const parts: Uint8Array<ArrayBuffer>[] = []
    for (;;) {
      const part = await this.#bytesOf(`${hash}.${parts.length}.part`)
      if (part?.length !== this.partBytes) return parts
      parts.push(part)
    }
  }

  /** Whether piece `index`, of exactly `partBytes`, is now on disk. */
  keepPart(hash: string, index: number, bytes: Uint8Array<ArrayBuffer>): Promise<boolean> {
    return this.#write(`${hash}.${index}.part`, bytes)
  }

  async forgetParts(hash: string, count: number): Promise<void> {
    for (let i = 0; i < count; i++) await this.#attempt(() => this.#folder.remove(`${hash}.${i}.part`))
  }

  /**
   * Makes room when there is little (RULES.md B7 to B9), and remembers what is in use for the next time that room is
   * needed. The longest unused goes first.
   */
  async prune(keep: ReadonlySet<string>): Promise<void> {
    this.#inUse = new Set(keep)
    this.#full = false
    await this.#shrink(new Set())
  }

  /** Deletes all that is not in use: for when the disk is full. */
  async clearUnused(): Promise<void> {
    await this.#attempt(async () => {
      for (const blob of await this.#blobs()) if (!this.#inUse.has(blob.hash)) await this.#drop(blob)
    })
  }

  async #shrink(fresh: ReadonlySet<string>): Promise<void> {
    await this.#attempt(async () => {
      const limit = await this.#limit()
      const blobs = await this.#blobs()
      let total = blobs.reduce((sum, blob) => sum + blob.bytes, 0)
      let tooMuch = Math.max(total - limit.blobs, limit.usage - limit.origin)
      const drop = async (blob: KeptBlob) => {
        await this.#drop(blob)
        total -= blob.bytes
        tooMuch -= blob.bytes
      }
      const needed = (blob: KeptBlob) => this.#inUse.has(blob.hash) || fresh.has(blob.hash)
      for (const blob of blobs) if (tooMuch > 0 && !needed(blob)) await drop(blob)
      for (const blob of blobs)
        if (total > limit.blobs && needed(blob) && !fresh.has(blob.hash)) await drop(blob)
      this.#uncounted = 0
    })
  }

  async #limit() {
    const { usage = 0, quota = Number.POSITIVE_INFINITY } = await this.#estimate().catch(
      () => ({}) as { usage?: number; quota?: number }, // a browser that refuses tells nothing
    )
    const origin = STORE_LIMITS.shareOfQuota * quota
    return { usage, origin, blobs: Math.min(STORE_LIMITS.mostBytes, origin) }
  }

  /** The longest unused first. */
  async #blobs(): Promise<KeptBlob[]> {
    const blobs = new Map<string, KeptBlob>()
    for (const { name, bytes, modified } of await this.#folder.list()) {
      const hash = name.match(NAME)?.[1]
      if (hash === undefined) continue
      const blob = blobs.get(hash) ?? { hash, bytes: 0, used: 0, files: [] }
      blobs.set(hash, blob)
      blob.bytes += bytes
      blob.used = Math.max(blob.used, modified)
      blob.files.push(name)
    }
    return [...blobs.values()].sort((a, b) => a.used - b.used)
  }

  async #drop({ hash, files }: KeptBlob): Promise<void> {
    this.#verified.delete(hash)
    for (const name of files) await this.#folder.remove(name)
  }

  #bytesOf(name: string): Promise<Uint8Array<ArrayBuffer> | null> {
    return this.#attempt(async () => {
      const file = await this.#folder.open(name)
      return file && new Uint8Array(await file.arrayBuffer())
    })
  }

  /** A full disk is pruned hard once; after that, memory has to do. */
  async #write(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<boolean> {
    if (this.#full) return false
    const write = () => this.#folder.write(name, [bytes])
    try {
      await write()
      return true
    } catch (error) {
      if (!isNamed(error, 'QuotaExceededError')) return false
    }
    await this.clearUnused()
    this.#full = !(await write().then(
      () => true,
      () => false,
    ))
    return !this.#full
  }

  /** Null when the disk will not: no storage, data cleared under the page, a file replaced while it is read. */
  #attempt<T>(work: () => Promise<T>): Promise<T | null> {
    return work().catch(() => null)
  }
}

interface KeptBlob {
  readonly hash: string
  bytes: number
  used: number
  readonly files: string[]
}

/** What the pages share. */
export const blobStore = new BlobStore(originFolder('blobs'))
