import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CODECS } from '../../shared/codec/codec.ts'
import { bytesToFloats, floatsToBytes } from '../../shared/codec/floats.ts'
import { PRESETS } from '../../shared/model/config.ts'
import { fragments } from '../../shared/model/layout.ts'
import { openFileBlobStore } from '../store/fileBlobs.ts'
import { type Aggregator, type FragmentBase, startAggregator } from './aggregator.ts'

describe('the aggregation thread', () => {
  let directory: string
  let folders: { blobs: string; vault: string }
  let aggregator: Aggregator
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'potluck-aggregate-'))
    folders = { blobs: join(directory, 'blobs'), vault: join(directory, 'vault') }
    aggregator = startAggregator(folders)
  })
  afterAll(async () => {
    await aggregator.close()
    rmSync(directory, { recursive: true, force: true })
  })

  it('[R6] takes the outer step of the test vector over two rounds of weighted contributions', async () => {
    const blobs = await openFileBlobStore(folders.blobs)
    const vault = await openFileBlobStore(folders.vault)
    const contribution = async (lease: string, value: number, weight: number) => {
      const hash = await vault.put(CODECS.f32.encode(Float32Array.of(value)))
      return { lease, hash, weight }
    }
    const weights = await blobs.put(floatsToBytes(Float32Array.of(1)))
    let base: FragmentBase = { parameters: 1, weights, exact: null, velocity: null, largest: 1 }
    // Means by weight: (0.125·3 + 0.025·1)/4 = 0.1, then (0.25·1 + 0.1875·4)/5 = 0.2; algorithm.md 1 gives θ.
    const rounds = [
      [await contribution('lease-001', 0.125, 3), await contribution('lease-002', 0.025, 1)],
      [await contribution('lease-003', 0.25, 1), await contribution('lease-004', 0.1875, 4)],
    ]
    const thetas: number[] = []
    for (const contributions of rounds) {
      const step = { codec: 'f32', downlink: 'f32', learningRate: 0.7, momentum: 0.9 } as const
      const merged = await aggregator.merge({ base, contributions, ...step })
      expect(await aggregator.merge({ base, contributions, ...step })).toEqual(merged) // the same bits
      base = merged.base
      thetas.push(bytesToFloats(await blobs.get(base.weights))[0] as number)
    }
    expect(thetas[0]).toBeCloseTo(0.867, 6)
    expect(thetas[1]).toBeCloseTo(0.5443, 6)
    expect(base.largest).toBeCloseTo(0.5443, 6)
  })

  it('makes the same untrained weights from the same seed, near deviation 0.02', async () => {
    const [first] = await aggregator.initial(PRESETS.nano, 'seed', 1)
    if (!first) throw new Error('no fragment')
    expect(await aggregator.initial(PRESETS.nano, 'seed', 1)).toEqual([first])
    expect((await aggregator.initial(PRESETS.nano, 'other', 1))[0]?.weights).not.toBe(first.weights)
    const blobs = await openFileBlobStore(folders.blobs)
    const values = bytesToFloats(await blobs.get(first.weights))
    expect(values.length).toBe(172_480)
    const embedding = values.subarray(0, 65_536)
    const deviation = Math.sqrt(embedding.reduce((sum, v) => sum + v * v, 0) / embedding.length)
    expect(deviation).toBeCloseTo(0.02, 4)
    expect(first.largest).toBe(1) // the gains
  })

  it('checks and merges fragments in its threads, one merge after another', async () => {
    const [base] = await aggregator.initial(PRESETS.nano, 'seed', 1)
    if (!base) throw new Error('no fragment')
    const vault = await openFileBlobStore(folders.vault)
    const hash = await vault.put(CODECS.int8.encode(new Float32Array(base.parameters).fill(0.5)))
    const check = { hash, parameters: base.parameters, codec: 'int8', bound: 0.5 } as const
    expect(await aggregator.check(check)).toBeNull()
    expect(await aggregator.check({ ...check, bound: 0.4 })).toBe('too-large-step')
    const contributions = [{ lease: 'lease-001', hash, weight: 3 }]
    const step = { codec: 'int8', downlink: 'int8', learningRate: 0.5, momentum: 0 } as const
    const [one, two] = await Promise.all([
      aggregator.merge({ base, ...step, contributions }),
      aggregator.merge({ base, ...step, contributions }),
    ])
    expect(two).toEqual(one)
    // A gain of 1 less half of 0.5; 0.25 is the delta's scale, so nothing is lost.
    expect(one.base.largest).toBe(0.75)
    await vault.delete(hash)
    const missing = aggregator.merge({ base, ...step, contributions })
    await expect(missing).rejects.toMatchObject({ name: 'PotluckError', code: 'not-found', status: 404 })
  })

  it('makes one blob a fragment, in the order of the layout', async () => {
    const [whole] = await aggregator.initial(PRESETS.nano, 'seed', 1)
    const blobs = await openFileBlobStore(folders.blobs)
    const values = bytesToFloats(await blobs.get(whole?.weights ?? ''))
    const bases = await aggregator.initial(PRESETS.nano, 'seed', 2)
    expect(bases.reduce((sum, { parameters }) => sum + parameters, 0)).toBe(172_480)
    expect(bases.map(({ parameters }) => parameters)).toEqual(
      fragments(PRESETS.nano, 2).map((ranges) => ranges.reduce((sum, { size }) => sum + size, 0)),
    )
    for (const [index, ranges] of fragments(PRESETS.nano, 2).entries()) {
      const stored = bytesToFloats(await blobs.get(bases[index]?.weights as string))
      expect([...stored]).toEqual(
        ranges.flatMap(({ offset, size }) => [...values.subarray(offset, offset + size)]),
      )
      expect(bases[index]).toMatchObject({ exact: null, velocity: null, largest: 1 })
    }
  })

  it('reports a missing blob instead of hanging', async () => {
    const check = { hash: 'f'.repeat(64), parameters: 1, codec: 'f16', bound: 1 } as const
    await expect(aggregator.check(check)).rejects.toThrow(/no blob/)
  })
})
