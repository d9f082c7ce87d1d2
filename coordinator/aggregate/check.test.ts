import { mkdtempSync, rmSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CODEC_NAMES, CODECS, type CodecName } from '../../shared/codec/codec.ts'
import type { BlobStore } from '../store/blobs.ts'
import { openFileBlobStore } from '../store/fileBlobs.ts'
import { checkContribution } from './check.ts'
import type { Folders } from './fragment.ts'
import { SLICE } from './memory.ts'

/** More than one slice, the last block short; powers of two, which every codec keeps. */
const PARAMETERS = SLICE + 300
const VALUES = Float32Array.from({ length: PARAMETERS }, (_, i) => (i % 64 === 0 ? 0.5 : 0))

describe('the check of a contribution', () => {
  let directory: string
  let folders: Folders
  let vault: BlobStore
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'potluck-check-'))
    folders = { blobs: join(directory, 'blobs'), vault: join(directory, 'vault') }
    vault = await openFileBlobStore(folders.vault)
  })
  afterAll(() => rmSync(directory, { recursive: true, force: true }))

  async function verdict(codec: CodecName, bytes: Uint8Array, bound: number, parameters = PARAMETERS) {
    const checked = await checkContribution(folders, {
      hash: await vault.put(bytes),
      parameters,
      codec,
      bound,
    })
    return checked.reason
  }

  it.each(CODEC_NAMES)('[A6] passes finite %s within the bound, the bound included', async (codec) => {
    const bytes = CODECS[codec].encode(VALUES)
    expect(await verdict(codec, bytes, 0.5)).toBeNull()
    expect(await verdict(codec, bytes, 0.4999)).toBe('too-large-step')
  })

  it.each(CODEC_NAMES)('[A6] finds one value too large at the end of %s', async (codec) => {
    const values = VALUES.slice()
    values[PARAMETERS - 1] = 2
    expect(await verdict(codec, CODECS[codec].encode(values), 0.5)).toBe('too-large-step')
  })

  it.each(CODEC_NAMES)('[A6] says wrong-length of %s with a byte more or less', async (codec) => {
    const bytes = CODECS[codec].encode(VALUES)
    expect(await verdict(codec, bytes.subarray(1), 1)).toBe('wrong-length')
    expect(await verdict(codec, Uint8Array.of(...bytes.subarray(0, 5)), 1)).toBe('wrong-length')
    const longer = new Uint8Array(bytes.length + 1)
    longer.set(bytes)
    expect(await verdict(codec, longer, 1)).toBe('wrong-length')
  })

  it.each([
    ['f32', 0x7fc00000],
    ['f16', 0x7e00],
    ['int8', 0x7c00],
    ['int4', 0x7c00],
  ] as const)('[A6] says not-finite of %s whose last block begins with no number', async (codec, bits) => {
    const { encode, byteLength, blockSize } = CODECS[codec]
    const bytes = encode(VALUES)
    const at = byteLength(Math.floor((PARAMETERS - 1) / blockSize) * blockSize)
    const view = new DataView(bytes.buffer)
    if (codec === 'f32') view.setUint32(at, bits, true)
    else view.setUint16(at, bits, true)
    expect(await verdict(codec, bytes, 1)).toBe('not-finite')
  })

  it('[A6] never blames a volunteer for the disk', async () => {
    const hash = await vault.put(CODECS.int8.encode(VALUES))
    const check = { hash, parameters: PARAMETERS, codec: 'int8', bound: 1 } as const
    await writeFile(vault.path(hash), CODECS.int8.encode(VALUES.map((x) => -100 * x)))
    await expect(checkContribution(folders, check)).rejects.toMatchObject({ code: 'bad-blob' })
    await vault.delete(hash)
    await expect(checkContribution(folders, check)).rejects.toMatchObject({ code: 'not-found' })
  })
})
