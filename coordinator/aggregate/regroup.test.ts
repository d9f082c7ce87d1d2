import { appendFile, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { bytesToFloats, floatsToBytes } from '../../shared/codec/floats.ts'
import { toHalfBits } from '../../shared/codec/half.ts'
import { PRESETS } from '../../shared/model/config.ts'
import { fragments, gathered, parameterCount, parameterLayout } from '../../shared/model/layout.ts'
import { safetensorsHeader } from '../../shared/model/safetensors.ts'
import { openFileBlobStore } from '../store/fileBlobs.ts'
import type { Folders } from './fragment.ts'
import { readWeights } from './readWeights.ts'
import { regroup } from './regroup.ts'

const MODEL = { ...PRESETS.nano, layers: 4, vocabSize: 1_100 } // an embedding of more than a slice
const WHOLE = Float32Array.from({ length: parameterCount(MODEL) }, (_, i) => Math.fround(Math.sin(i) / 3))

let directory: string
let folders: Folders
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'potluck-regroup-'))
  folders = { blobs: join(directory, 'blobs'), vault: join(directory, 'vault') }
  for (const folder of [folders.blobs, folders.vault]) await openFileBlobStore(folder)
})
afterEach(() => rm(directory, { recursive: true, force: true }))

/** Comparing so many values one by one takes long. */
const same = (a: Float32Array, b: Float32Array | undefined) =>
  b !== undefined && Buffer.compare(floatsToBytes(a), floatsToBytes(b)) === 0
const parts = (count: number) => fragments(MODEL, count).map((ranges) => gathered(WHOLE, ranges))
async function stored(count: number) {
  const vault = await openFileBlobStore(folders.vault)
  return Promise.all(
    parts(count).map(async (part) => ({
      store: 'vault' as const,
      hash: await vault.put(floatsToBytes(part)),
    })),
  )
}

describe('regrouping', () => {
  it.each([
    [1, 1],
    [1, 3],
    [4, 1],
    [2, 3],
    [4, 4],
  ])('%i fragments into %i keeps every value in its place', async (before, after) => {
    const from = await stored(before)
    const made = await regroup(folders, { model: MODEL, from, to: { store: 'blobs', fragments: after } })
    const blobs = await openFileBlobStore(folders.blobs)
    const expected = parts(after)
    expect(made.map(({ parameters }) => parameters)).toEqual(expected.map(({ length }) => length))
    for (const [index, { hash, largest }] of made.entries()) {
      expect(same(bytesToFloats(await blobs.get(hash)), expected[index])).toBe(true)
      expect(largest).toBe(expected[index]?.reduce((most, value) => Math.max(most, Math.abs(value)), 0))
    }
  })

  it('takes a fragment that is not there for zeros', async () => {
    const [first] = await stored(2)
    const from = [first as NonNullable<typeof first>, { store: 'vault' as const, hash: null }]
    const [made] = await regroup(folders, { model: MODEL, from, to: { store: 'vault', fragments: 1 } })
    const values = bytesToFloats(await (await openFileBlobStore(folders.vault)).get(made?.hash ?? ''))
    const expected = new Float32Array(WHOLE.length)
    for (const { offset, size } of fragments(MODEL, 2)[0] ?? [])
      expected.set(WHOLE.subarray(offset, offset + size), offset)
    expect(same(values, expected)).toBe(true)
  })

  it('of a damaged or missing blob says so, and leaves nothing', async () => {
    const from = await stored(2)
    const [, second] = from
    const to = { store: 'blobs' as const, fragments: 1 }
    const none = [{ store: 'blobs' as const, hash: 'a'.repeat(64) }]
    await expect(regroup(folders, { model: MODEL, from: none, to })).rejects.toMatchObject({
      code: 'not-found',
    })
    await appendFile((await openFileBlobStore(folders.vault)).path(second?.hash ?? ''), 'x')
    await expect(regroup(folders, { model: MODEL, from, to })).rejects.toMatchObject({ code: 'bad-blob' })
    expect(await readdir(folders.blobs)).toEqual(['incoming'])
    expect(await readdir(join(folders.blobs, 'incoming'))).toEqual([])
  })
})

describe('weights from a file', () => {
  /** Every tensor backwards in the file, encoded by hand. */
  async function file(dtype: 'F32' | 'F16' | 'BF16', values: Float32Array): Promise<string> {
    const width = dtype === 'F32' ? 4 : 2
    const data = new Uint8Array(width * values.length)
    const view = new DataView(data.buffer)
    const header: Record<string, unknown> = {}
    let at = 0
    for (const { name, shape, offset, size } of parameterLayout(MODEL).reverse()) {
      header[name] = { dtype, shape, data_offsets: [at, at + width * size] }
      for (let i = offset; i < offset + size; i++, at += width) {
        const value = values[i] as number // within the model
        if (dtype === 'F32') view.setFloat32(at, value, true)
        else if (dtype === 'F16') view.setUint16(at, toHalfBits(value), true)
        else {
          view.setFloat32(0, value, false) // its upper half; byte 0 is written again at the end
          const upper = view.getUint16(0, false)
          view.setUint16(at, upper, true)
        }
      }
    }
    const json = new TextEncoder().encode(JSON.stringify(header))
    const prefix = new Uint8Array(8)
    new DataView(prefix.buffer).setBigUint64(0, BigInt(json.length), true)
    const path = join(directory, 'model.safetensors')
    await writeFile(path, Buffer.concat([prefix, json, data]))
    return path
  }
  const flat = async (path: string) => {
    const { hash } = await readWeights(folders, { path, model: MODEL })
    return bytesToFloats(await (await openFileBlobStore(folders.vault)).get(hash))
  }

  it('of F32 are these bits in the order of the layout', async () => {
    expect(same(await flat(await file('F32', WHOLE)), WHOLE)).toBe(true)
  })

  it('of F16 are what the halves stand for', async () => {
    const exact = WHOLE.map((value) => Math.round(value * 1_024) / 1_024 + 0) // a half has eleven bits
    expect(same(await flat(await file('F16', exact)), exact)).toBe(true)
  })

  it('of BF16 are what the upper halves stand for', async () => {
    const exact = WHOLE.map((value) => Math.round(value * 128) / 128 + 0) // eight bits
    const path = await file('BF16', exact)
    const found = await flat(path)
    const last = parameterLayout(MODEL).at(-1)?.offset ?? 0 // lies first in the file, where `file` keeps its scratch
    expect(same(found.subarray(0, last), exact.subarray(0, last))).toBe(true)
  })

  it.each(['F32', 'F16', 'BF16'] as const)(
    'of %s that are not finite are refused with the place',
    async (dtype) => {
      const spoilt = WHOLE.slice()
      const entry = parameterLayout(MODEL).find(({ name }) => name === 'model.layers.3.mlp.up_proj.weight')
      spoilt[(entry?.offset ?? 0) + 12_000] = Number.NEGATIVE_INFINITY
      const said = flat(await file(dtype, spoilt))
      await expect(said).rejects.toMatchObject({
        code: 'bad-weights',
        message: expect.stringMatching(
          /value 12000 of the tensor model.layers.3.mlp.up_proj.weight, at byte \d+, is -Infinity/,
        ),
      })
      expect(await readdir(join(folders.vault, 'incoming'))).toEqual([])
    },
  )

  it('of an empty file, or a header alone, are refused', async () => {
    const path = join(directory, 'short')
    for (const bytes of [new Uint8Array(), new Uint8Array(7), safetensorsHeader(MODEL, {})]) {
      await writeFile(path, bytes)
      await expect(flat(path)).rejects.toMatchObject({ code: 'bad-weights' })
    }
  })
})
