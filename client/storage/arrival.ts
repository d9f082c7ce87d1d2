/**
 * A blob on its way: the bytes so far, from the first on, in one buffer. Whole pieces also go to the disk, so that a
 * reload loses little. It knows neither HTTP nor retries (blobs.ts does) and verifies nothing.
 */
import type { BlobStore } from './blobStore.ts'

const FIRST_CAPACITY = 64 * 1024

export class Arrival {
  readonly hash: string
  readonly #store: BlobStore | null
  #buffer = new Uint8Array(0)
  #length = 0
  #total: number | null = null
  #partsOnDisk = 0
  #diskTakesParts = true

  /** Without a store, in memory only. */
  constructor(hash: string, store: BlobStore | null) {
    this.hash = hash
    this.#store = store
  }

  get length(): number {
    return this.#length
  }

  get onDisk(): boolean {
    return this.#store !== null
  }

  /** Whether as much is here as there is; more would be damage, and shows in the hash. */
  get isWhole(): boolean {
    return this.#total !== null && this.#length >= this.#total
  }

  /** Takes up the pieces that an earlier page left. */
  async restore(): Promise<void> {
    const parts = (await this.#store?.parts(this.hash)) ?? []
    this.#reserve(parts.reduce((sum, part) => sum + part.length, 0))
    for (const part of parts) this.#append(part)
    this.#partsOnDisk = parts.length
  }

  /** The blob's length, when the coordinator tells it. */
  expect(total: number | null): void {
    this.#total = total
    if (total !== null) this.#reserve(total)
  }

  async add(chunk: Uint8Array): Promise<void> {
    this.#append(chunk)
    if (this.#store === null || this.isWhole) return
    const { partBytes } = this.#store
    while (this.#diskTakesParts && (this.#partsOnDisk + 1) * partBytes <= this.#length) {
      const start = this.#partsOnDisk * partBytes
      const part = this.#buffer.subarray(start, start + partBytes)
      this.#diskTakesParts = await this.#store.keepPart(this.hash, this.#partsOnDisk, part)
      this.#partsOnDisk += 1
    }
  }

  /** The bytes, which are the caller's from now on. */
  take(): Uint8Array<ArrayBuffer> {
    const bytes = this.#length === this.#buffer.length ? this.#buffer : this.#buffer.slice(0, this.#length)
    this.#buffer = new Uint8Array(0)
    return bytes
  }

  /** Back to nothing, on disk too. */
  async forget(): Promise<void> {
    await this.#store?.forgetParts(this.hash, this.#partsOnDisk)
    this.#length = 0
    this.#total = null
    this.#partsOnDisk = 0
    this.#diskTakesParts = true
  }

  #append(chunk: Uint8Array): void {
    if (this.#length + chunk.length > this.#buffer.length) {
      this.#reserve(Math.max(2 * this.#buffer.length, this.#length + chunk.length, FIRST_CAPACITY))
    }
    this.#buffer.set(chunk, this.#length)
    this.#length += chunk.length
  }

  #reserve(capacity: number): void {
    if (capacity <= this.#buffer.length) return
    const larger = new Uint8Array(capacity)
    larger.set(this.#buffer.subarray(0, this.#length))
    this.#buffer = larger
  }
}
