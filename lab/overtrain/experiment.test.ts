import { expect, it } from 'vitest'
import { parameterCount } from '../../shared/model/layout.ts'
import { tryOut } from '../training/testing.ts'
import { overtrain } from './experiment.ts'

it('lab -- overtrain trains 1, 4 and 16 times the usual tokens, and compares each with data parallelism', async () => {
  const { report, specs } = await tryOut(
    overtrain,
    ['--quick', '--sizes', '1'],
    ({ replicas, tokens }) => tokens ** -0.1 * (replicas === 2 ? 1.05 : 1),
  )
  const multiples = new Set(specs.map(({ tokens, model }) => Math.round(tokens / parameterCount(model) / 20)))
  expect([...multiples].sort((a, b) => a - b)).toEqual([1, 4, 16])
  expect(report.findings[1]).toContain('M=2 against data parallelism: 1× +5.00 %, 4× +5.00 %, 16× +5.00 %.')
})
