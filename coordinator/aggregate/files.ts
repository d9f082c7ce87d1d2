/**
 * Blobs read and written from first to last byte in pieces, and recognised on the way. Synchronous, for threads that
 * have nothing else to do. Whole blobs and their names are the store's business (../store/fileBlobs.ts).
 */
import { createHash, type Hash } from 'node:crypto'
import { closeSync, fstatSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs'
import { PotluckError } from '../../shared/protocol/errors.ts'
import { Seal, type Sealer } from './sealKernel.ts'
import type { Stopwatch } from './stopwatch.ts'

/** A blob to read. */
export interface Source {
  readonly path: string
  readonly hash: string
  /** Known when this process has seen the blob whole before; then it is looked at instead of the hash. */
  readonly seal: string | null
}

/** What reads and writes have in common in one thread. Without a sealer there are only hashes. */
export interface Desk {
  readonly watch: Stopwatch
  readonly sealer: Sealer | null
}

export class BlobReader {
  readonly bytes: number
  readonly #source: Source
  readonly #desk: Desk
  readonly #file: number
  readonly #hasher: Hash | null
  readonly #seal: Seal | null
  #position = 0

  /** `seal`: makes a seal too where none is known. @throws PotluckError `not-found` */
  constructor(source: Source, desk: Desk, seal = false) {
    this.#source = source
    this.#desk = desk
    const known = source.seal !== null && desk.sealer !== null
    this.#hasher = known ? null : createHash('sha256')
    this.#seal = desk.sealer !== null && (known || seal) ? new Seal(desk.sealer) : null
    try {
      this.#file = openSync(source.path, 'r')
    } catch {
      throw new PotluckError('not-found', `There is no blob ${source.hash}.`, 404)
    }
    this.bytes = fstatSync(this.#file).size
  }

  get left(): number {
    return this.bytes - this.#position
  }

  /** The next bytes, as many as fit. @throws PotluckError `bad-blob` when fewer are left. */
  fill(bytes: Uint8Array): void {
    const { watch } = this.#desk
    watch.time('read', () => this.#read(bytes))
    if (this.#hasher) watch.time('hash', () => this.#hasher?.update(bytes))
    if (this.#seal) watch.time('seal', () => this.#seal?.update(bytes))
  }

  #read(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const count = readSync(this.#file, bytes, done, bytes.length - done, this.#position)
      if (count === 0) throw damagedBlob(this.#source.hash)
      done += count
      this.#position += count
    }
  }

  /**
   * When all has been read: its seal, if it has one. @throws PotluckError `bad-blob` when these are not the bytes that
   * the name promises.
   */
  verify(): string | null {
    const { hash, seal } = this.#source
    const found = this.#seal?.digest() ?? null
    const same = this.#hasher ? this.#hasher.digest('hex') === hash : found === seal
    if (this.left !== 0 || !same) throw damagedBlob(hash)
    return found
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

/** A file that was made, durable but under no name yet. */
export interface Made {
  readonly hash: string
  readonly bytes: number
  readonly seal: string | null
}

export class BlobWriter {
  readonly #file: number
  readonly #hasher = createHash('sha256')
  readonly #seal: Seal | null
  readonly #watch: Stopwatch
  #bytes = 0

  /** Makes the file, which must not exist. */
  constructor(path: string, { watch, sealer }: Desk) {
    this.#file = openSync(path, 'wx')
    this.#seal = sealer && new Seal(sealer)
    this.#watch = watch
  }

  append(bytes: Uint8Array): void {
    this.#watch.time('hash', () => this.#hasher.update(bytes))
    if (this.#seal) this.#watch.time('seal', () => this.#seal?.update(bytes))
    this.#watch.time('write', () => this.#write(bytes))
  }

  #write(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      done += writeSync(this.#file, bytes, done, bytes.length - done, this.#bytes + done)
    }
    this.#bytes += bytes.length
  }

  /** Durable when it returns; under its hash it lies only after the store has adopted it. */
  finish(): Made {
    this.#watch.time('flush', () => fsyncSync(this.#file))
    const hash = this.#hasher.digest('hex')
    return { hash, bytes: this.#bytes, seal: this.#seal?.digest() ?? null }
  }

  close(): void {
    closeSync(this.#file)
  }
}
