/**
 * A model's values from files of their own shape into blobs of another: fragments into other fragments, or a
 * safetensors file into flat parameters. Slice by slice; the memory does not depend on the model.
 */
import { createHash, randomUUID } from 'node:crypto'
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { ModelConfig } from '../../shared/model/config.ts'
import { fragments, type ParameterRange } from '../../shared/model/layout.ts'
import { PotluckError } from '../../shared/protocol/errors.ts'
import { openFileBlobStore } from '../store/fileBlobs.ts'
import { BlobWriter, damagedBlob } from './files.ts'
import type { Folders } from './fragment.ts'
import { largestMagnitude } from './largest.ts'
import { SLICE } from './memory.ts'
import { Stopwatch } from './stopwatch.ts'

export interface Regrouping {
  readonly model: ModelConfig
  /** One a fragment of `fragments(model, from.length)`; a missing hash is all zeros. */
  readonly from: readonly { readonly store: keyof Folders; readonly hash: string | null }[]
  readonly to: { readonly store: keyof Folders; readonly fragments: number }
}

/** A blob of f32 values. */
export interface Values {
  readonly hash: string
  readonly parameters: number
  readonly largest: number
}

/** One blob for each fragment of `to`. @throws PotluckError `not-found`, `bad-blob` */
export async function regroup(folders: Folders, { model, from, to }: Regrouping): Promise<Values[]> {
  const pieces = piecesOf(model, from.length)
  const files: (number | null)[] = []
  try {
    for (const [index, { store, hash }] of from.entries()) {
      files.push(hash === null ? null : await openWhole(folders[store], hash, bytesOf(pieces, index)))
    }
    const made: Values[] = []
    for (const ranges of fragments(model, to.fragments)) {
      const slices = ranges.flatMap((range) => overlaps(pieces, range))
      made.push(await writeValues(folders[to.store], (write) => copy(files, slices, write)))
    }
    return made
  } finally {
    for (const file of files) if (file !== null) closeSync(file)
  }
}

/** `size` values of the model from `offset` on, that lie in fragment `index`'s blob from value `start` on. */
interface Piece extends ParameterRange {
  readonly index: number
  readonly start: number
}

/** In the order of the layout. */
export function piecesOf(model: ModelConfig, count: number): Piece[] {
  const pieces = fragments(model, count).flatMap((ranges, index) => {
    let start = 0
    return ranges.map(({ offset, size }) => {
      start += size
      return { index, offset, size, start: start - size }
    })
  })
  return pieces.sort((a, b) => a.offset - b.offset)
}

const bytesOf = (pieces: readonly Piece[], fragment: number): number =>
  pieces.reduce((sum, { index, size }) => sum + (index === fragment ? 4 * size : 0), 0)

function overlaps(pieces: readonly Piece[], { offset, size }: ParameterRange): Piece[] {
  return pieces.flatMap((piece) => {
    const first = Math.max(offset, piece.offset)
    const end = Math.min(offset + size, piece.offset + piece.size)
    if (end <= first) return []
    return [{ ...piece, offset: first, size: end - first, start: piece.start + first - piece.offset }]
  })
}

function copy(files: readonly (number | null)[], pieces: readonly Piece[], write: Write): void {
  const slice = new Float32Array(SLICE)
  for (const { index, start, size } of pieces) {
    for (let done = 0; done < size; done += SLICE) {
      const values = slice.subarray(0, Math.min(SLICE, size - done))
      const file = files[index] ?? null
      if (file === null) values.fill(0)
      else readExactly(file, bytesIn(values), 4 * (start + done))
      write(values)
    }
  }
}

/** Open for reading, and found to hash to its name. */
async function openWhole(folder: string, hash: string, bytes: number): Promise<number> {
  const file = openBlob((await openFileBlobStore(folder)).path(hash), hash)
  const hasher = createHash('sha256')
  const buffer = new Uint8Array(4 * SLICE)
  const length = fstatSync(file).size
  for (let at = 0; at < length; at += buffer.length) {
    const part = buffer.subarray(0, Math.min(buffer.length, length - at))
    readExactly(file, part, at)
    hasher.update(part)
  }
  if (length === bytes && hasher.digest('hex') === hash) return file
  closeSync(file)
  throw damagedBlob(hash)
}

function openBlob(path: string, hash: string): number {
  try {
    return openSync(path, 'r')
  } catch {
    throw new PotluckError('not-found', `There is no blob ${hash}.`, 404)
  }
}

export type Write = (values: Float32Array) => void

/** What `make` writes as a blob of the folder, durable when it resolves. */
export async function writeValues(folder: string, make: (write: Write) => void): Promise<Values> {
  const blobs = await openFileBlobStore(folder)
  const temporary = join(folder, 'incoming', randomUUID())
  const writer = new BlobWriter(temporary, { watch: new Stopwatch(), sealer: null })
  try {
    let parameters = 0
    let largest = 0
    make((values) => {
      writer.append(bytesIn(values))
      parameters += values.length
      largest = Math.max(largest, largestMagnitude(values))
    })
    const { hash } = writer.finish()
    await blobs.adopt(temporary, hash)
    return { hash, parameters, largest }
  } finally {
    writer.close()
    await rm(temporary, { force: true })
  }
}

/** @throws Error when the file has fewer */
export function readExactly(file: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; ) {
    const count = readSync(file, bytes, done, bytes.length - done, position + done)
    if (count === 0) throw new Error(`The file ends before byte ${position + bytes.length}.`)
    done += count
  }
}

export const bytesIn = (values: Float32Array): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
