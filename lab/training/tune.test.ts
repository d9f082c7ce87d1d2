import { describe, expect, it } from 'vitest'
import { parameterCount } from '../../shared/model/layout.ts'
import { baseSpec, scaleOf } from './scale.ts'
import type { Spec } from './spec.ts'
import { bestAlong, bestRate, rateFor, tune } from './tune.ts'

const SCALE = {
  ...scaleOf({ tiny: true, quick: false, seeds: null }),
  batches: [8, 16, 32],
  outerLearningRates: [0.4, 0.6, 0.8],
}
const [MODEL] = SCALE.models
if (!MODEL) throw new Error('The ladder is empty.')

/** A bowl: best at rate 0.002 for the smaller size and 0.001 for the larger, batch 16, outer rate 0.8. */
function lossOf({ model, innerLearningRate, batch, outerLearningRate }: Spec): number {
  const wanted = model === MODEL ? 2e-3 : 1e-3
  const away = (value: number, best: number) => Math.log2(value / best) ** 2
  return 3 + away(innerLearningRate, wanted) + 10 * away(batch, 16) + away(outerLearningRate, 0.8)
}

describe('tuning', () => {
  const tried: Spec[] = []
  const runner = {
    run: async (spec: Spec) => {
      tried.push(spec)
      return { loss: lossOf(spec) }
    },
  }

  it('walks to a rate that has a worse one on either side, to within a √2', async () => {
    const { innerLearningRate } = await bestRate(runner, baseSpec(SCALE, MODEL, 2, 'f32'), [-2, 0, 2])
    expect(Math.abs(Math.log2(innerLearningRate / 2e-3))).toBeLessThanOrEqual(0.25)
  })

  it('finds batch and outer rate, and the inner rate of both sizes', async () => {
    const tuned = await tune(runner, SCALE, 2, 'f32')
    expect([tuned.batch, tuned.outerLearningRate]).toEqual([16, 0.8])
    expect(tuned.batches).toEqual(SCALE.models.map((model) => ({ n: parameterCount(model), batch: 16 })))
    expect(tuned.rates.map(({ n }) => n)).toEqual(SCALE.models.map(parameterCount))
    const [small, large] = tuned.rates
    expect(Math.abs(Math.log2((small?.rate ?? 0) / 2e-3))).toBeLessThanOrEqual(0.25)
    expect(Math.abs(Math.log2((large?.rate ?? 0) / 1e-3))).toBeLessThanOrEqual(0.25)
  })

  it('never asks for a batch that M replicas cannot share', async () => {
    tried.length = 0
    await tune(runner, { ...SCALE, batches: [4, 8, 16] }, 8, 'f32')
    expect(tried.every(({ batch }) => batch % 8 === 0)).toBe(true)
  })
})

describe('a rate for a size that was not tuned', () => {
  it('follows the power law of those that were', () => {
    const rates = [
      { n: 100, rate: 4e-3 },
      { n: 400, rate: 2e-3 },
    ]
    expect(rateFor({ rates }, 1_600)).toBeCloseTo(1e-3, 9)
    expect(rateFor({ rates }, 400)).toBe(2e-3)
  })

  it('does not grow', () => {
    const rates = [
      { n: 100, rate: 2e-3 },
      { n: 400, rate: 3e-3 },
    ]
    expect(rateFor({ rates }, 1_600)).toBe(3e-3)
  })
})

describe('a walk along a line', () => {
  const line = [0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1]

  it.each([
    [0.2, 1],
    [0.05, 3],
    [1, 0],
  ])('finds %f from place %i', async (best, start) => {
    expect(await bestAlong(line, [start], async (one) => Math.abs(one - best))).toBe(best)
  })

  it('asks for no more than it needs', async () => {
    const asked: number[] = []
    await bestAlong(line, [1], async (one) => {
      asked.push(one)
      return one
    })
    expect(asked.sort()).toEqual([0.05, 0.1, 0.2])
  })
})
