/**
 * What a group's slices become on disk, in the aggregation threads: the mean of members' own slices where no member made
 * it, several slices as one contribution, and the hashes of the slices of a whole one.
 */
import { createHash, randomUUID } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readFileSync, readSync, writeSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { CodecName } from '../../shared/codec/codec.ts'
import { CodecError } from '../../shared/codec/errors.ts'
import { meanSlice, type Slice } from '../../shared/mesh/slices.ts'
import { openFileBlobStore } from '../store/fileBlobs.ts'
import type { Folders } from './fragment.ts'

export interface SliceMean {
  readonly codec: CodecName
  /** Values of the slice. */
  readonly count: number
  /** Blobs of the vault, in the order of summing. */
  readonly members: readonly { readonly hash: string; readonly weight: number }[]
}

/** Hash of the mean, which is in the vault then; null when some slice holds no numbers of its codec. */
export async function sliceMean(
  folders: Folders,
  { codec, count, members }: SliceMean,
): Promise<string | null> {
  const vault = await openFileBlobStore(folders.vault)
  const weighed = members.map(({ hash, weight }) => ({ bytes: readFileSync(vault.path(hash)), weight }))
  try {
    return await vault.put(meanSlice(codec, count, weighed))
  } catch (error) {
    if (error instanceof CodecError) return null
    throw error
  }
}

/** Hash of the blobs of the vault one after another, which is in the vault then. */
export async function joined(folders: Folders, hashes: readonly string[]): Promise<string> {
  const vault = await openFileBlobStore(folders.vault)
  const path = join(folders.vault, 'incoming', randomUUID())
  const hasher = createHash('sha256')
  const file = openSync(path, 'wx')
  try {
    for (const hash of hashes) {
      const bytes = readFileSync(vault.path(hash))
      hasher.update(bytes)
      for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done)
    }
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  const name = hasher.digest('hex')
  if (await vault.has(name)) await rm(path)
  else await vault.adopt(path, name)
  return name
}

export interface SliceHashes {
  readonly hash: string
  readonly slices: readonly Pick<Slice, 'offset' | 'bytes'>[]
}

/** SHA-256 of these ranges of a blob of the vault. */
export async function sliceHashes(folders: Folders, { hash, slices }: SliceHashes): Promise<string[]> {
  const vault = await openFileBlobStore(folders.vault)
  const file = openSync(vault.path(hash), 'r')
  try {
    return slices.map(({ offset, bytes }) => {
      const slice = new Uint8Array(bytes)
      for (let done = 0; done < bytes; ) {
        const read = readSync(file, slice, done, bytes - done, offset + done)
        if (read === 0) throw new RangeError('A slice lies beyond its blob.')
        done += read
      }
      return createHash('sha256').update(slice).digest('hex')
    })
  } finally {
    closeSync(file)
  }
}
