import { describe, expect, it } from 'vitest'
import { roundsOf, stepsOf } from './plan.ts'
import { baseSpec, scaleOf } from './scale.ts'
import type { Spec } from './spec.ts'

const SCALE = scaleOf({ tiny: true, quick: false, seeds: null })
const [MODEL] = SCALE.models
if (!MODEL) throw new Error('The ladder is empty.')
/** 16 tokens a sequence, 8 sequences a step, 23 steps. */
const spec = (change: Partial<Spec> = {}): Spec => ({
  ...baseSpec(SCALE, MODEL, 4, 'f32'),
  batch: 8,
  tokens: 16 * 8 * 23,
  innerSteps: 5,
  ...change,
})

const trained = (one: Spec) =>
  roundsOf(one).reduce((sum, { steps, batch }) => sum + batch * 16 * steps.reduce((a, b) => a + b, 0), 0)

describe('the plan of a run', () => {
  it('[T1] trains the tokens asked for; the last round has what is left', () => {
    expect(stepsOf(spec())).toBe(23)
    const rounds = roundsOf(spec())
    expect(rounds.map(({ first }) => first)).toEqual([0, 5, 10, 15, 20])
    expect(rounds.map(({ steps }) => steps[0])).toEqual([5, 5, 5, 5, 3])
    expect(trained(spec())).toBe(16 * 8 * 23)
  })

  it('[T2] shares the batch out, and refuses one that cannot be', () => {
    expect(roundsOf(spec())[0]?.batch).toBe(2)
    expect(() => roundsOf(spec({ replicas: 3 }))).toThrow(RangeError)
  })

  it('a pool that shrinks trains as many tokens in more rounds', () => {
    const shrinking = spec({ tokens: 16 * 8 * 500, trouble: { pool: [1, 1, 0.5, 0.25] } })
    expect(new Set(roundsOf(shrinking).map(({ steps }) => steps.length))).toEqual(new Set([4, 2, 1]))
    expect(Math.abs(trained(shrinking) / (16 * 8 * 500) - 1)).toBeLessThan(0.01)
  })

  it('speeds size the leases: a replica that is three times as fast takes three times the steps', () => {
    const [first] = roundsOf(spec({ innerSteps: 10, trouble: { speeds: [1, 3] } }))
    expect(first?.steps).toEqual([5, 15, 5, 15])
  })
})
