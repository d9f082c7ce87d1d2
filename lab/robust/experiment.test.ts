import { expect, it } from 'vitest'
import { tryOut } from '../training/testing.ts'
import { troubleRuns } from './experiment.ts'
import { PARTS } from './parts.ts'

it('lab -- robust puts every trouble beside the same run without it', async () => {
  const { report } = await tryOut(troubleRuns, ['--quick'], ({ trouble, merge }) => {
    const { drops = 0, newcomers = 0 } = trouble
    return 4 * (1 + drops / 10 + newcomers / 100) * (merge === 'rda' ? 0.99 : 1)
  })
  expect(report.findings[0]).toBe(
    'Contributions that are lost, M = 4. 10 % lost: +1.00 %; 30 % lost: +3.00 %; 50 % lost: +5.00 %.',
  )
  expect(report.findings.at(-1)).toContain(
    'M = 16: RDA at its best outer rate -1.00 % against the mean at its best.',
  )
})

it('the full form merges 4 to 32 replicas, and loses up to half of the contributions', () => {
  const merges = PARTS.filter(({ id }) => id.startsWith('merge')).map(({ replicas }) => replicas)
  expect(merges).toEqual([4, 8, 16, 32])
  expect(PARTS[0]?.cases.map(({ change }) => change.trouble?.drops ?? 0)).toEqual([0, 0.1, 0.3, 0.5])
})
