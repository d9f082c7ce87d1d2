import { describe, expect, it } from 'vitest'
import { pointSchema } from '../scaling/points.ts'
import { away, tryOut } from '../training/testing.ts'
import { compareMethods } from './experiment.ts'

describe('lab -- compare', () => {
  it('tunes every method and reports its loss against data parallelism of the same size', async () => {
    // M replicas cost M percent; a rate that is not the best costs more.
    const { report, specs } = await tryOut(compareMethods, ['--quick', '--seeds', '2'], (spec) => {
      const penalty = spec.replicas ?? 0
      return 4 * (1 + penalty / 100) + 0.1 * away(spec.innerLearningRate, 8e-3)
    })
    const [losses, tuned] = report.tables
    expect(losses?.rows).toHaveLength(2 * 5)
    for (const [, method, , , , penalty] of losses?.rows ?? []) {
      expect(penalty).toBeCloseTo(method === 'data parallel' ? 0 : Number(String(method).slice(2)), 6)
    }
    expect(tuned?.rows).toHaveLength(5)
    expect(new Set(specs.map(({ seed }) => seed))).toEqual(new Set(['1', '2']))
    expect(report.findings.at(-1)).toContain('M=8 against data parallelism')
  })

  it('trains the same tokens with every method', async () => {
    const { specs } = await tryOut(compareMethods, ['--quick', '--sizes', '1'], () => 4)
    expect(new Set(specs.map(({ tokens }) => tokens)).size).toBe(1)
  })

  it('leaves points that lab -- scaling can fit', async () => {
    const { report } = await tryOut(compareMethods, ['--quick'], ({ tokens }) => tokens ** -0.1)
    const points = pointSchema.array().parse((report.data as { points: unknown }).points)
    expect(points.map(({ n }) => n)).toEqual([...Array(5).fill(5_928), ...Array(5).fill(12_368)])
  })
})
