/**
 * Blobs read and written from first to last byte in pieces, hashed on the way. Synchronous, for threads that have
 * nothing else to do. Whole blobs and their names are the store's business (../store/fileBlobs.ts).
 */
import { createHash } from 'node:crypto'
import { closeSync, fstatSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs'
import { PotluckError } from '../../shared/protocol/errors.ts'
import type { Stopwatch } from './stopwatch.ts'

export class BlobReader {
  readonly bytes: number
  readonly #hash: string
  readonly #file: number
  readonly #hasher = createHash('sha256')
  readonly #watch: Stopwatch
  #position = 0

  /** @throws PotluckError `not-found` */
  constructor(path: string, hash: string, watch: Stopwatch) {
    this.#hash = hash
    this.#watch = watch
    try {
      this.#file = openSync(path, 'r')
    } catch {
      throw new PotluckError('not-found', `There is no blob ${hash}.`, 404)
    }
    this.bytes = fstatSync(this.#file).size
  }

  get left(): number {
    return this.bytes - this.#position
  }

  /** The next bytes, as many as fit. @throws PotluckError `bad-blob` when fewer are left. */
  fill(bytes: Uint8Array): void {
    this.#watch.time('read', () => this.#read(bytes))
    this.#watch.time('hash', () => this.#hasher.update(bytes))
  }

  #read(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const count = readSync(this.#file, bytes, done, bytes.length - done, this.#position)
      if (count === 0) throw this.#damaged()
      done += count
      this.#position += count
    }
  }

  /** When all has been read. @throws PotluckError `bad-blob` when the bytes do not hash to their name. */
  verify(): void {
    if (this.#position !== this.bytes || this.#hasher.digest('hex') !== this.#hash) throw this.#damaged()
  }

  #damaged(): PotluckError {
    return damagedBlob(this.#hash)
  }

  close(): void {
    closeSync(this.#file)
  }
}

export const damagedBlob = (hash: string) =>
  new PotluckError(
    'bad-blob',
    `The blob ${hash} is damaged on disk: its bytes no longer match its name. Restore it from a backup.`,
    500,
  )

export class BlobWriter {
  readonly #file: number
  readonly #hasher = createHash('sha256')
  readonly #watch: Stopwatch
  #bytes = 0

  /** Makes the file, which must not exist. */
  constructor(path: string, watch: Stopwatch) {
    this.#file = openSync(path, 'wx')
    this.#watch = watch
  }

  append(bytes: Uint8Array): void {
    this.#watch.time('hash', () => this.#hasher.update(bytes))
    this.#watch.time('write', () => this.#write(bytes))
  }

  #write(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      done += writeSync(this.#file, bytes, done, bytes.length - done, this.#bytes + done)
    }
    this.#bytes += bytes.length
  }

  /** Durable when it returns; under its hash it lies only after the store has adopted it. */
  finish(): { hash: string; bytes: number } {
    this.#watch.time('flush', () => fsyncSync(this.#file))
    return { hash: this.#hasher.digest('hex'), bytes: this.#bytes }
  }

  close(): void {
    closeSync(this.#file)
  }
}
