import { describe, expect, it } from 'vitest'
import type { TaskResult } from '../../shared/protocol/evaluation.ts'
import { accuracyRange, byTask, placesIn } from './taskData.ts'

const result = (task: string, round: number, accuracy: number): TaskResult => ({
  task,
  round,
  examples: 100,
  plain: { accuracy, standardError: 0.05 },
  normalised: { accuracy: accuracy + 0.1, standardError: 0.05 },
  chance: 0.25,
})

describe('results of tasks', () => {
  it('are a chart a task, each from its oldest round', () => {
    const mixed = [result('piqa', 4, 0.5), result('arc-easy', 2, 0.3), result('piqa', 2, 0.4)]
    expect(byTask(mixed).map(({ task, results }) => [task, results.map(({ round }) => round)])).toEqual([
      ['arc-easy', [2]],
      ['piqa', [2, 4]],
    ])
  })

  it('have room for chance and for the standard error, and stay within 0 and 1', () => {
    const [low, high] = accuracyRange([result('piqa', 1, 0.4)])
    expect([low, high]).toEqual([expect.closeTo(0.25 - 0.03), expect.closeTo(0.55 + 0.03)])
    const [, most] = accuracyRange([result('piqa', 1, 0.9)])
    expect(most).toBe(1)
  })

  it('stand where their rounds are, the best on top', () => {
    const rounds = [result('piqa', 2, 0.3), result('piqa', 4, 0.4), result('piqa', 12, 0.5)]
    const { x, y } = placesIn({ width: 100, height: 50 }, rounds)
    expect([2, 4, 12].map(x)).toEqual([0, 20, 100])
    expect(y(0.5)).toBeLessThan(y(0.3))
    expect(y(accuracyRange(rounds)[0])).toBeCloseTo(50)
    expect(placesIn({ width: 100, height: 50 }, rounds.slice(0, 1)).x(2)).toBe(50)
  })
})
