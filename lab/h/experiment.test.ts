import { expect, it } from 'vitest'
import { stepsOf } from '../training/plan.ts'
import { away, tryOut } from '../training/testing.ts'
import { varyInnerSteps } from './experiment.ts'

it('lab -- h finds the best H, with the outer rate tuned for each', async () => {
  const { report, specs } = await tryOut(
    varyInnerSteps,
    ['--quick', '--sizes', '1'],
    ({ innerSteps, outerLearningRate }) =>
      4 + 0.01 * away(innerSteps, 10) + 0.001 * away(outerLearningRate, innerSteps === 1 ? 0.05 : 0.8),
  )
  for (const finding of report.findings) expect(finding).toContain('best with H = 10')
  const [first] = report.tables[0]?.rows ?? []
  expect(first?.slice(2, 4)).toEqual([1, 0.05])
  // A round is never longer than half of the training.
  expect(specs.every((spec) => 2 * spec.innerSteps <= stepsOf(spec))).toBe(true)
})
