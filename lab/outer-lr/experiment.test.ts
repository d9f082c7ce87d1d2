import { expect, it } from 'vitest'
import { away, tryOut } from '../training/testing.ts'
import { varyOuterRate } from './experiment.ts'

it('lab -- outer-lr finds the best rate for each M, and puts the paper’s beside it', async () => {
  const best = (replicas: number | null) => (replicas === 8 ? 1 : 0.4)
  const { report } = await tryOut(
    varyOuterRate,
    ['--quick'],
    ({ replicas, outerLearningRate }) => 4 + away(outerLearningRate, best(replicas)),
  )
  expect(report.findings).toContain('M=1: best 0.4 from the smallest size on; the paper has 0.4.')
  expect(report.findings).toContain('M=8: best 1 from the smallest size on; the paper has 0.8.')
})
