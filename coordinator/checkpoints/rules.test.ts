import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { CheckpointRules } from '../../shared/protocol/checkpoints.ts'
import { keptCheckpoints, RECENT_ROUNDS } from './rules.ts'

const NONE: CheckpointRules = { last: 1, every: 0, best: 0 }
/** Losses by round; null is a round not measured. */
const kept = (losses: readonly (number | null)[], rules: Partial<CheckpointRules>, fragments = 1) =>
  Object.fromEntries(
    keptCheckpoints(
      losses.map((valLoss, round) => ({ round, valLoss })),
      { ...NONE, ...rules },
      fragments,
    ),
  )

describe('the checkpoints that are kept (K2, K3)', () => {
  it.each<[string, (number | null)[], Partial<CheckpointRules>, Record<number, string[]>]>([
    ['of a run that has not begun', [7], { last: 3, best: 2 }, { 0: ['start', 'last'] }],
    ['by last', [7, 6, 5, 4, 3], { last: 2 }, { 0: ['start'], 3: ['last'], 4: ['last'] }],
    ['by every', [7, 6, 5, 4, 3], { every: 2 }, { 0: ['start'], 2: ['every'], 4: ['last', 'every'] }],
    ['by best', [7, 6, 3, 4, 5, 6], { best: 2 }, { 0: ['start'], 2: ['best'], 3: ['best'], 5: ['last'] }],
    ['by best, the earlier of equals', [7, 5, 5, 6], { best: 1 }, { 0: ['start'], 1: ['best'], 3: ['last'] }],
    [
      'by best, never the first weights',
      [1, 5, 4, 6],
      { best: 1 },
      { 0: ['start'], 2: ['best'], 3: ['last'] },
    ],
    [
      'because they are not measured and recent',
      [7, null, 5, 6, null, null],
      { best: 1 },
      { 0: ['start'], 2: ['best'], 4: ['unmeasured'], 5: ['last', 'unmeasured'] },
    ],
    [
      'not because they are unmeasured when no best is kept',
      [7, 6, null, null],
      {},
      { 0: ['start'], 3: ['last'] },
    ],
  ])('%s', (_name, losses, rules, expected) => {
    expect(kept(losses, rules)).toEqual(expected)
  })

  it('of a run in fragments wait for their measure for three rounds of each', () => {
    expect(Object.keys(kept(Array(9).fill(null), { best: 1 }, 2))).toEqual([
      '0',
      '3',
      '4',
      '5',
      '6',
      '7',
      '8',
    ])
  })

  it('are exactly those that a rule names, whatever is there', () => {
    const loss = fc.option(fc.integer({ min: 0, max: 4 }), { nil: null })
    const rules = fc.record({ last: fc.nat(4), every: fc.nat(4), best: fc.nat(4) })
    fc.assert(
      fc.property(
        fc.array(loss, { maxLength: 30 }),
        rules,
        fc.integer({ min: 1, max: 3 }),
        (losses, some, fragments) => {
          const wanted = { ...some, last: some.last + 1 }
          const found = kept(losses, wanted, fragments)
          losses.forEach((mine, round) => {
            const better = losses.filter(
              (other, r) =>
                r > 0 && other !== null && mine !== null && (other < mine || (other === mine && r < round)),
            )
            const expected =
              round === 0 ||
              round >= losses.length - wanted.last ||
              (wanted.every > 0 && round % wanted.every === 0) ||
              (mine !== null && better.length < wanted.best) ||
              (mine === null && wanted.best > 0 && losses.length - 1 - round < RECENT_ROUNDS * fragments)
            expect(round in found, `round ${round}`).toBe(expected)
          })
        },
      ),
    )
  })
})
