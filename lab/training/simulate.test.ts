import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Engine } from '../../shared/engine/engine.ts'
import { createTfjsEngine } from '../../shared/engine/tfjs/createTfjsEngine.ts'
import { nodeWasmPaths } from '../../shared/engine/tfjs/nodeWasmPaths.ts'
import { randomFrom } from '../../shared/model/random.ts'
import type { Corpus } from '../common/corpus.ts'
import { baseSpec, scaleOf } from './scale.ts'
import { DIVERGED, simulate } from './simulate.ts'
import type { Spec } from './spec.ts'

const SCALE = scaleOf({ tiny: true, quick: false, seeds: null })
const [MODEL] = SCALE.models
if (!MODEL) throw new Error('The ladder is empty.')
const SEQUENCE = MODEL.sequenceLength + 1

/** Each token follows the one before it by one of two rules: something to learn. */
function corpus(): Corpus {
  const random = randomFrom('corpus')
  const tokens = (sequences: number) => {
    const ids = new Uint16Array(sequences * SEQUENCE)
    for (let i = 1; i < ids.length; i++) ids[i] = ((ids[i - 1] ?? 0) * 3 + (random() < 0.5 ? 1 : 2)) % 50
    return ids
  }
  const training = [{ hash: '0'.repeat(64), sequences: 4_000 }]
  return {
    manifest: { training, sequenceLength: MODEL?.sequenceLength ?? 0 },
    shards: new Map([[0, tokens(4_000)]]),
    heldOut: tokens(64),
  }
}

/** 40 steps of 8 sequences. */
const spec = (replicas: number | null, change: Partial<Spec> = {}): Spec => ({
  ...baseSpec(SCALE, MODEL, replicas, 'f32'),
  tokens: 16 * 8 * 40,
  batch: 8,
  ...change,
})

describe('a training run', () => {
  let engine: Engine
  const data = corpus()
  const loss = async (one: Spec) => (await simulate(engine, data, one)).loss
  beforeAll(async () => {
    engine = await createTfjsEngine({ backend: 'wasm', config: MODEL, wasmPaths: nodeWasmPaths() })
  })
  afterAll(() => engine.dispose())

  it('[T6] of DiLoCo with H = 1, one replica and a plain outer step of rate 1 is data parallelism', async () => {
    const plain = { innerSteps: 1, outerLearningRate: 1, outerMomentum: 0 }
    const [parallel, diloco] = [await loss(spec(null)), await loss(spec(1, plain))]
    expect(parallel).toBeLessThan(Math.log(300))
    expect(diloco).toBeCloseTo(parallel, 4)
  })

  it('is the same again from the same seed, and another from another', async () => {
    const once = await loss(spec(2))
    expect(await loss(spec(2))).toBe(once)
    expect(await loss(spec(2, { seed: '2' }))).not.toBe(once)
  })

  it('[T1] counts its tokens, rounds and bytes', async () => {
    const { tokens, rounds, bytesUp } = await simulate(engine, data, spec(4, { codec: 'int8' }))
    expect([tokens, rounds]).toEqual([16 * 8 * 40, 8])
    expect(bytesUp).toBeGreaterThan(0)
    // int8 is a little over a byte a parameter: a fourth of f32.
    const f32 = await simulate(engine, data, spec(4))
    expect(bytesUp / f32.bytesUp).toBeCloseTo(0.252, 2)
  })

  it.each<[string, Spec['trouble']]>([
    ['[T5] contributions are lost, all of them in some rounds', { drops: 0.7 }],
    ['[T7] newcomers come, warmed up', { newcomers: 0.3 }],
    ['[T7] newcomers come, not warmed up', { newcomers: 0.3, warmUp: false }],
    ['the pool grows', { pool: [0.25, 0.5, 1, 1] }],
    ['speeds differ', { speeds: [1, 2, 4] }],
  ])('learns although %s', async (_, trouble) => {
    const troubled = await loss(spec(4, { trouble }))
    expect(troubled).toBeLessThan(Math.log(300))
    expect(troubled).not.toBe(await loss(spec(4)))
  })

  it('that diverges is worse than any other, and spoils none after it', async () => {
    const once = await loss(spec(2))
    expect(await loss(spec(2, { innerLearningRate: 1e30 }))).toBe(DIVERGED)
    expect(await loss(spec(2))).toBe(once)
  })

  it('learns with RDA', async () => {
    expect(await loss(spec(4, { merge: 'rda', outerLearningRate: 0.4 }))).toBeLessThan(Math.log(300))
  })
})
