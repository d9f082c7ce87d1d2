import { expect, it } from 'vitest'
import { away, tryOut } from '../training/testing.ts'
import { varyBatch } from './experiment.ts'

it('lab -- batch finds the best batch of each method, and how far from it one may go', async () => {
  // Best at 16 sequences; a factor of two costs half a percent, of four two percent.
  const { report, specs } = await tryOut(
    varyBatch,
    ['--quick', '--sizes', '1'],
    ({ batch }) => 4 * (1 + 0.005 * away(batch, 16)),
  )
  expect(report.findings).toHaveLength(4)
  for (const finding of report.findings)
    expect(finding).toContain('best at 16 sequences; within 1 % of that from 8 to 32')
  expect(specs.every(({ batch, replicas }) => Number.isInteger(batch / (replicas ?? 1)))).toBe(true)
})
