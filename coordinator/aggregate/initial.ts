/** The untrained weights of a run, one blob a fragment. The whole model is in memory while it is made. */
import { randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { ModelConfig } from '../../shared/model/config.ts'
import { initialParameters } from '../../shared/model/initial.ts'
import { fragments, type ParameterRange } from '../../shared/model/layout.ts'
import { openFileBlobStore } from '../store/fileBlobs.ts'
import { BlobWriter } from './files.ts'
import type { Folders, FragmentBase } from './fragment.ts'
import { largestMagnitude } from './largest.ts'
import { SLICE } from './memory.ts'
import { Stopwatch } from './stopwatch.ts'

/** In the order of `fragments(config, count)`; each fragment's ranges lie one after another in its blob. */
export async function initialFragments(
  folders: Folders,
  config: ModelConfig,
  seed: string,
  count: number,
): Promise<FragmentBase[]> {
  const values = initialParameters(config, seed)
  const bases: FragmentBase[] = []
  for (const ranges of fragments(config, count)) bases.push(await storeFragment(folders, values, ranges))
  return bases
}

async function storeFragment(
  folders: Folders,
  values: Float32Array,
  ranges: readonly ParameterRange[],
): Promise<FragmentBase> {
  const blobs = await openFileBlobStore(folders.blobs)
  const temporary = join(folders.blobs, 'incoming', randomUUID())
  const parts = ranges.map(({ offset, size }) => values.subarray(offset, offset + size))
  try {
    const { hash } = writeFloats(temporary, parts)
    await blobs.adopt(temporary, hash)
    return {
      parameters: parts.reduce((sum, part) => sum + part.length, 0),
      weights: hash,
      exact: null,
      velocity: null,
      largest: Math.max(...parts.map(largestMagnitude)),
    }
  } finally {
    await rm(temporary, { force: true })
  }
}

function writeFloats(path: string, parts: readonly Float32Array[]) {
  const writer = new BlobWriter(path, { watch: new Stopwatch(), sealer: null })
  try {
    for (const part of parts) {
      for (let from = 0; from < part.length; from += SLICE) {
        const slice = part.subarray(from, from + SLICE)
        writer.append(new Uint8Array(slice.buffer, slice.byteOffset, slice.byteLength))
      }
    }
    return writer.finish()
  } finally {
    writer.close()
  }
}
