/**
 * Documents thrown into many files, and read back in a shuffled order: a shuffle of more than fits in memory. A record is
 * its length as uint32, little endian, and its bytes. Synchronous, because nothing else happens in an import.
 */
import {
  closeSync,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { permutation } from '../../../shared/corpus/permutation.ts'
import { PotluckError } from '../../../shared/protocol/errors.ts'

const BUFFER = 64 * 1024
const HEAD = 4

export const bucketFile = (folder: string, bucket: number): string => join(folder, `bucket-${bucket}`)

interface OpenBucket {
  readonly fd: number
  length: number
  pending: Buffer[]
  waiting: number
}

/** Files that grow, and go back to lengths they had. */
export class Buckets {
  readonly #files: OpenBucket[]

  /** @param lengths of every bucket: what is beyond is cut off. @throws PotluckError `bad-state` when one is shorter. */
  constructor(folder: string, lengths: readonly number[]) {
    this.#files = lengths.map((length, bucket) => {
      const fd = openSync(bucketFile(folder, bucket), length === 0 ? 'w' : 'r+')
      const { size } = fstatSync(fd)
      if (size < length)
        throw new PotluckError('bad-state', `${folder} has lost text. Delete it and start again.`)
      ftruncateSync(fd, length)
      return { fd, length, pending: [], waiting: 0 }
    })
  }

  add(bucket: number, record: Uint8Array): void {
    const file = this.#files[bucket]
    if (file === undefined) throw new Error(`there is no bucket ${bucket}`)
    const head = Buffer.alloc(HEAD)
    head.writeUInt32LE(record.length)
    file.pending.push(head, Buffer.from(record))
    file.waiting += HEAD + record.length
    if (file.waiting >= BUFFER) this.#flush(file)
  }

  /** Durable lengths of all. */
  sync(): number[] {
    return this.#files.map((file) => {
      this.#flush(file)
      fdatasyncSync(file.fd)
      return file.length
    })
  }

  close(): void {
    for (const { fd } of this.#files) closeSync(fd)
  }

  #flush(file: OpenBucket): void {
    const bytes = Buffer.concat(file.pending)
    for (let at = 0; at < bytes.length; )
      at += writeSync(file.fd, bytes, at, bytes.length - at, file.length + at)
    file.length += bytes.length
    file.pending = []
    file.waiting = 0
  }
}

/** The records of a bucket in the order they came in, or shuffled by a seed. */
export function* recordsOf(folder: string, bucket: number, seed: string | null): Generator<Buffer> {
  const fd = openSync(bucketFile(folder, bucket), 'r')
  try {
    const starts = startsOf(fd)
    const count = starts.length
    const order = seed === null ? null : permutation(count, seed)
    for (let i = 0; i < count; i++) yield recordAt(fd, starts[order ? (order[i] ?? 0) : i] ?? 0) // below count
  } finally {
    closeSync(fd)
  }
}

export const removeBucket = (folder: string, bucket: number): void =>
  rmSync(bucketFile(folder, bucket), { force: true })

function startsOf(fd: number): readonly number[] {
  const { size } = fstatSync(fd)
  const window = Buffer.alloc(1024 * 1024)
  const starts: number[] = []
  let [from, held] = [0, 0]
  for (let at = 0; at < size; ) {
    if (at < from || at + HEAD > from + held) {
      from = at
      held = readSync(fd, window, 0, window.length, from)
    }
    starts.push(at)
    at += HEAD + window.readUInt32LE(at - from)
  }
  return starts
}

function recordAt(fd: number, start: number): Buffer {
  const head = Buffer.alloc(HEAD)
  readSync(fd, head, 0, HEAD, start)
  const record = Buffer.alloc(head.readUInt32LE(0))
  readSync(fd, record, 0, record.length, start + HEAD)
  return record
}
