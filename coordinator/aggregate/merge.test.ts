import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { readFile, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Piscina } from 'piscina'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { CODEC_NAMES, CODECS, type CodecName } from '../../shared/codec/codec.ts'
import { bytesToFloats, floatsToBytes } from '../../shared/codec/floats.ts'
import { applyDelta } from '../../shared/diloco/delta.ts'
import { accumulate, applyOuterStep } from '../../shared/diloco/outer.ts'
import { randomFrom } from '../../shared/model/random.ts'
import type { BlobStore } from '../store/blobs.ts'
import { openFileBlobStore, sha256 } from '../store/fileBlobs.ts'
import { checkContribution } from './check.ts'
import { type Outcome, valueFrom } from './faults.ts'
import type { Folders, FragmentBase, FragmentMerge, Merged } from './fragment.ts'
import { type Kernels, loadKernels } from './kernels.ts'
import { SLICE } from './memory.ts'
import { type MergeHow, mergeFragment, threadsFor } from './merge.ts'
import { type PartResult, runPart } from './part.ts'
import { Seal } from './sealKernel.ts'
import { Seals } from './seals.ts'

const HERE: MergeHow = { threads: 1, runPart }

let root: string
let folders: Folders
let blobs: BlobStore
let vault: BlobStore
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'potluck-merge-'))
})
afterAll(() => rmSync(root, { recursive: true, force: true }))
beforeEach(async () => {
  const own = mkdtempSync(join(root, 'test-'))
  folders = { blobs: join(own, 'blobs'), vault: join(own, 'vault') }
  blobs = await openFileBlobStore(folders.blobs)
  vault = await openFileBlobStore(folders.vault)
})

function random(seed: string, length: number, largest = 1): Float32Array<ArrayBuffer> {
  const uniform = randomFrom(seed)
  // A wide range of magnitudes: blocks of very different scales, and zeros.
  return Float32Array.from({ length }, (_, i) =>
    i % 7 === 0 ? 0 : largest * (2 * uniform() - 1) * 2 ** -Math.floor(16 * uniform()),
  )
}

const firstBase = async (weights: Float32Array): Promise<FragmentBase> => ({
  parameters: weights.length,
  weights: await blobs.put(floatsToBytes(weights)),
  exact: null,
  velocity: null,
  largest: weights.reduce((most, w) => Math.max(most, Math.abs(w)), 0),
})

async function contribution(codec: CodecName, values: Float32Array, weight: number, n = 0) {
  return { lease: `lease-${n}`, hash: await vault.put(CODECS[codec].encode(values)), weight }
}

const merge = (task: FragmentMerge, how = HERE) => mergeFragment({ folders, merge: task }, how)

const floats = async (store: BlobStore, hash: string) => bytesToFloats(await store.get(hash))

/** The merge as a page of arithmetic: whole models, nothing but the functions of shared/. */
async function expected({ base, codec, downlink, contributions, ...step }: FragmentMerge): Promise<Merged> {
  const weights = await floats(blobs, base.weights)
  const exact = base.exact === null ? weights.slice() : await floats(vault, base.exact)
  const velocity =
    base.velocity === null ? new Float32Array(weights.length) : await floats(vault, base.velocity)
  const sum = new Float64Array(weights.length)
  let total = 0
  for (const { hash, weight } of contributions) {
    accumulate(sum, CODECS[codec].decode(await vault.get(hash), weights.length), weight)
    total += weight
  }
  applyOuterStep(exact, velocity, sum, total, step)
  const delta = CODECS[downlink].encode(exact.map((x, i) => x - (weights[i] as number)))
  applyDelta(weights, CODECS[downlink].decode(delta, weights.length))
  const hash = (values: Float32Array) => sha256(floatsToBytes(values))
  return {
    base: {
      parameters: weights.length,
      weights: hash(weights),
      exact: hash(exact),
      velocity: hash(velocity),
      largest: weights.reduce((most, w) => Math.max(most, Math.abs(w)), 0),
    },
    delta: { hash: sha256(delta), bytes: delta.length },
  }
}

async function example(codec: CodecName, parameters: number, count: number): Promise<FragmentMerge> {
  const contributions = await Promise.all(
    Array.from({ length: count }, (_, n) =>
      contribution(codec, random(`contribution-${n}`, parameters, 0.01 * (n + 1)), 1000 + 37 * n, n),
    ),
  )
  const base = {
    ...(await firstBase(random('weights', parameters))),
    exact: await vault.put(floatsToBytes(random('exact', parameters))),
    velocity: await vault.put(floatsToBytes(random('velocity', parameters, 0.01))),
  }
  return { base, codec, downlink: 'int8', learningRate: 0.7, momentum: 0.9, contributions }
}

describe('a merge', () => {
  const sizes = [1, 3, 255, 256, 300, 4097, SLICE + 4099]
  it.each(CODEC_NAMES.flatMap((codec) => sizes.map((size) => [codec, size] as const)))(
    '[A2] of %s over %d parameters is the plain arithmetic, with kernels and without',
    async (codec, parameters) => {
      const task = { ...(await example(codec, parameters, 3)), downlink: codec }
      const wanted = await expected(task)
      expect(await merge(task)).toEqual(wanted)
      expect(await merge(task, { ...HERE, kernel: false })).toEqual(wanted)
      expect(await floats(blobs, wanted.base.weights)).toHaveLength(parameters)
      expect(await vault.has(wanted.base.exact as string)).toBe(true) // a merge always has one
      expect(await vault.has(wanted.base.velocity as string)).toBe(true)
      expect((await blobs.get(wanted.delta.hash)).length).toBe(wanted.delta.bytes)
    },
  )

  it.each(['int8', 'int4', 'f16'] as const)(
    '[A3] of more %s contributions than are in memory at once takes no more memory',
    async (codec) => {
      const bytes: number[] = []
      const how: MergeHow = {
        threads: 1,
        runPart: (job) => {
          bytes.push(job.memory.buffer.byteLength)
          return runPart(job)
        },
      }
      const many = await example(codec, 5000, 41)
      expect(await merge(many, how)).toEqual(await expected(many))
      await merge(await example(codec, 300_000, 2), how)
      expect(bytes[0]).toBe(bytes[1])
      expect(bytes[0]).toBeLessThan(20 * 1024 * 1024)
    },
  )

  it('[A1] follows the test vector, momentum kept from round to round', async () => {
    // Weighted means: Δ, and 2Δ, 0, 0 with weights 2, 1, 1 are the same.
    let base = await firstBase(Float32Array.of(1))
    const thetas: number[] = []
    for (const delta of [0.1, 0.2, -0.05, 0]) {
      const contributions = [
        await contribution('f32', Float32Array.of(2 * delta), 200),
        await contribution('f32', Float32Array.of(0), 100),
        await contribution('f32', Float32Array.of(0), 100),
      ]
      const step = { learningRate: 0.7, momentum: 0.9 }
      base = (await merge({ base, codec: 'f32', downlink: 'f32', ...step, contributions })).base
      thetas.push((await floats(blobs, base.weights))[0] as number)
    }
    const wanted = [0.867, 0.5443, 0.44637, 0.326733]
    wanted.forEach((theta, i) => {
      expect(thetas[i]).toBeCloseTo(theta, 6)
    })
  })

  it.each(['int8', 'int4'] as const)(
    '[A5] feeds the rounding of a %s downlink back: θ̂ stays beside θ, and tabs that follow deltas have its bits',
    async (downlink) => {
      const start = random('start', 3000)
      let base = await firstBase(start)
      const tab = start.slice()
      const moved = new Float64Array(start.length)
      for (let round = 0; round < 30; round++) {
        const contributions = [await contribution('f16', random(`round-${round}`, 3000, 0.01), 1)]
        const before = base.weights
        const step = { learningRate: 0.7, momentum: 0.9 }
        const merged = await merge({ base, codec: 'f16', downlink, ...step, contributions })
        base = merged.base
        const delta = CODECS[downlink].decode(await blobs.get(merged.delta.hash), 3000)
        applyDelta(tab, delta)
        delta.forEach((d, i) => {
          moved[i] = (moved[i] as number) + d
        })
        expect(base.weights).not.toBe(before)
        expect(sha256(floatsToBytes(tab))).toBe(base.weights)
        const exact = await floats(vault, base.exact as string)
        // One quantisation: half a step of the largest difference sent, which lies within twice the largest delta.
        const largest = delta.reduce((most, d) => Math.max(most, Math.abs(d)), 0)
        const steps = downlink === 'int8' ? 127 : 7
        const allowed = largest * (0.5 / steps + 2 ** -10)
        exact.forEach((theta, i) => {
          expect(Math.abs(theta - (tab[i] as number))).toBeLessThanOrEqual(allowed + 2 ** -24)
          expect(Math.abs((start[i] as number) + (moved[i] as number) - theta)).toBeLessThanOrEqual(
            allowed + 2 ** -20,
          )
        })
      }
    },
  )

  it('[A7] begun again after a crash gives the same blobs, and leaves nothing half made', async () => {
    const task = await example('int8', 5000, 3)
    const first = await merge(task)
    await blobs.delete(first.delta.hash)
    await vault.delete(first.base.exact as string)
    expect(await merge(task)).toEqual(first)
    expect(sha256(await blobs.get(first.delta.hash))).toBe(first.delta.hash)
    expect(await vault.has(first.base.exact as string)).toBe(true)
    expect(halfMade()).toEqual([])
  })

  it('refuses to step on momentum alone', async () => {
    const task = await example('int8', 10, 0)
    await expect(merge(task)).rejects.toThrow(RangeError)
  })

  it('says so when the outer step has left the numbers', async () => {
    const base = await firstBase(Float32Array.of(1))
    const contributions = [await contribution('f32', Float32Array.of(3e38), 1)]
    const task = {
      base,
      codec: 'f32',
      downlink: 'f32',
      learningRate: 2,
      momentum: 0.9,
      contributions,
    } as const
    await expect(merge(task)).rejects.toMatchObject({ code: 'bad-state' })
    expect(halfMade()).toEqual([])
  })
})

const halfMade = () =>
  [folders.blobs, folders.vault].flatMap((folder) => readdirSync(join(folder, 'incoming')))
const all = () =>
  [folders.blobs, folders.vault]
    .flatMap((folder) => readdirSync(folder, { recursive: true, encoding: 'utf8' }))
    .sort()

describe('threads of a merge', () => {
  let pool: Piscina
  let threads: MergeHow
  beforeAll(() => {
    const filename = new URL('./thread.js', import.meta.url).href
    pool = new Piscina({ filename, execArgv: [], maxThreads: 3, minThreads: 3 })
    threads = {
      threads: 3,
      runPart: async (job) => valueFrom((await pool.run(job, { name: 'mergePart' })) as Outcome<PartResult>),
    }
  })
  afterAll(() => pool.destroy())

  it.each(['int4', 'f16'] as const)('[A4] change no bit of a merge of %s', async (codec) => {
    const task = await example(codec, 2 * SLICE + 5001, 11)
    expect(await merge(task, threads)).toEqual(await merge(task))
    const small = await example(codec, 100, 2) // a slice that only one of them computes
    expect(await merge(small, threads)).toEqual(await merge(small))
  })

  it.each(['here', 'threads'] as const)(
    '[A7] publish nothing when an input is damaged, cut short or missing (%s)',
    async (where) => {
      const how = where === 'here' ? HERE : threads
      const task = await example('int8', SLICE + 5000, 9)
      const { weights, exact, velocity } = task.base
      const inputs = [
        blobs.path(weights),
        vault.path(exact as string),
        vault.path(velocity as string),
        vault.path((task.contributions[8] as { hash: string }).hash),
      ]
      const before = all()
      for (const path of inputs) {
        const whole = await readFile(path)
        const damaged = Uint8Array.from(whole)
        damaged[whole.length - 1] = (whole.at(-1) as number) ^ 1
        await writeFile(path, damaged)
        await expect(merge(task, how)).rejects.toMatchObject({ code: 'bad-blob' })
        await truncate(path, whole.length - 1)
        await expect(merge(task, how)).rejects.toMatchObject({ code: 'bad-blob' })
        rmSync(path)
        await expect(merge(task, how)).rejects.toMatchObject({ code: 'not-found' })
        await writeFile(path, whole)
        expect(all()).toEqual(before)
      }
      expect(await merge(task, how)).toEqual(await expected(task))
    },
  )
})

describe('seals', () => {
  it('[A8] stand for the hash where a blob was seen whole before, and notice damage as well', async () => {
    const seals = new Seals()
    const task = await example('int4', SLICE + 5003, 10)
    const first = await merge(task, { ...HERE, seals })
    for (const { hash } of task.contributions) {
      const check = { hash, parameters: SLICE + 5003, codec: 'int4', bound: 1 } as const
      seals.set(hash, (await checkContribution(folders, check)).seal)
    }
    const next = { ...task, base: first.base }
    expect(await merge(next, { ...HERE, seals })).toEqual(await expected(next))
    const blob = [
      vault.path((task.contributions[9] as { hash: string }).hash),
      blobs.path(first.base.weights),
    ]
    for (const path of blob) {
      const whole = await readFile(path)
      for (const at of [0, 1000, whole.length - 1]) {
        const damaged = Uint8Array.from(whole)
        damaged[at] = (whole[at] as number) ^ 0x80
        await writeFile(path, damaged)
        await expect(merge(next, { ...HERE, seals })).rejects.toMatchObject({ code: 'bad-blob' })
      }
      await writeFile(path, whole)
    }
    expect(await merge(next, { ...HERE, seals })).toEqual(await expected(next))
  })

  it('[A8] are Fletcher’s sums of two rows of 64-bit numbers', async () => {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true })
    const { seal } = (await loadKernels(memory)) as Kernels
    const bytes = new Uint8Array(memory.buffer, 64, 33)
    bytes.set([1, 0, 0, 0, 0, 0, 0, 0, 2], 0)
    bytes.set([3, 0, 0, 0, 0, 0, 0, 0, 0], 16)
    bytes[32] = 5
    new Uint8Array(memory.buffer, 64 + 33, 15).fill(255) // what lay there before
    const sum = new Seal({ seal, memory, state: 0 })
    sum.update(bytes)
    // a: 1 + 3 + 5 and 2; b: 1 + 4 + 9 and 2 + 2 + 2.
    const row = (n: number) => `${n.toString(16).padStart(2, '0')}${'00'.repeat(7)}`
    expect(sum.digest()).toBe(row(9) + row(2) + row(14) + row(6))
  })
})

it('a small merge has one thread, a large one as many as there are', async () => {
  const task = { merge: await example('int8', 1000, 2) }
  expect(threadsFor(task, 4)).toBe(1)
  const base = { ...task.merge.base, parameters: 36_000_000 }
  expect(threadsFor({ merge: { ...task.merge, base } }, 4)).toBe(4)
})
