/** The slice machine, rule by rule; slices.property.test.ts has it under random events. */
import { describe, expect, it } from 'vitest'
import { PRESETS } from '../../shared/model/config.ts'
import { LIMITS } from '../../shared/protocol/limits.ts'
import { tolerance } from './agreement.ts'
import { NO_SLICES, nextWake, type Order, reduce, type SliceEffect, type SliceEvent } from './slices.ts'

const SLICE_MS = LIMITS.evaluation.sliceSeconds * 1_000
const CONFIG = PRESETS.nano // sequences of 64 tokens: 32 of them make a slice
const hashOf = (n: number) => n.toString(16).padStart(64, '0')
const [ann, bob, cai, dee, eve] = ['ann-0000', 'bob-0000', 'cai-0000', 'dee-0000', 'eve-0000'] as const
const order = (round: number, sequences = 40): Order => ({
  run: 'run-00001',
  round,
  weights: [hashOf(round), hashOf(round + 1)],
  config: CONFIG,
  set: hashOf(99),
  sequences,
})
const TOKENS = [32 * 64, 8 * 64]

/** A machine one talks to. */
function table(first: Order | null = order(1)) {
  let state = NO_SLICES
  let ids = 0
  const t = {
    now: 0,
    get state() {
      return state
    },
    send(event: SliceEvent): SliceEffect[] {
      const reduction = reduce(state, event)
      state = reduction.state
      return reduction.effects
    },
    order: (next: Order) => t.send({ type: 'order', order: next, now: t.now }),
    /** The slice's id and its first sequence; null when there is none. */
    lease(volunteer: string, round = 1): { id: string; first: number } | null {
      const id = `slice-${100 + ids++}`
      const asked = { volunteer, run: 'run-00001', round, id, now: t.now }
      const [effect] = t.send({ type: 'request', ...asked })
      return effect?.type === 'leased' ? effect.slice : null
    },
    answer(volunteer: string, id: string | undefined, nats: number, change: object = {}): SliceEffect[] {
      const weights = [hashOf(1), hashOf(2)]
      const given = { volunteer, id: id ?? 'slice-000', weights, nats, tokens: TOKENS[0] ?? 0, now: t.now }
      return t.send({ type: 'answer', ...given, ...change })
    },
    gone: (volunteer: string) => t.send({ type: 'gone', volunteer, now: t.now }),
    tick: () => t.send({ type: 'tick', now: t.now }),
    /** Leases and answers the first slice that the volunteer may have. */
    measure(volunteer: string, nats: readonly [number, number], round = 1): SliceEffect[] {
      const slice = t.lease(volunteer, round)
      const index = slice?.first === 0 ? 0 : 1
      const weights = [hashOf(round), hashOf(round + 1)]
      return t.answer(volunteer, slice?.id, nats[index], { tokens: TOKENS[index], weights })
    },
  }
  if (first) t.order(first)
  return t
}

const settledOf = (t: ReturnType<typeof table>) => t.state.open?.parts.map(({ settled }) => settled)

describe('slices', () => {
  it('E6 cut the set into whole sequences, about 2,048 tokens each', () => {
    expect(table().state.open?.parts.map(({ first, count }) => [first, count])).toEqual([
      [0, 32],
      [32, 8],
    ])
    const long = { ...order(1, 3), config: PRESETS['35m'] }
    expect(table(long).state.open?.parts.map(({ first, count }) => [first, count])).toEqual([
      [0, 1],
      [1, 1],
      [2, 1],
    ])
  })

  it('E6 go to two different volunteers each, and never twice to the same', () => {
    const t = table()
    expect(t.lease(ann)?.first).toBe(0)
    expect(t.lease(bob)?.first).toBe(0)
    expect(t.lease(cai)?.first).toBe(32) // the first has its two
    expect(t.lease(dee)?.first).toBe(32)
    expect(t.lease(eve)).toBeNull()
    const alone = table()
    alone.measure(ann, [100, 25])
    alone.measure(ann, [100, 25])
    expect(alone.lease(ann)).toBeNull()
    expect(settledOf(alone)).toEqual([null, null])
  })

  it('E6 are leased one at a time: who asks again has lost the one before', () => {
    const t = table()
    const lost = t.lease(ann)
    const slice = t.lease(ann)
    expect(slice?.first).toBe(0)
    expect(t.answer(ann, lost?.id, 100)).toEqual([{ type: 'refused', reason: 'not-leased' }])
    expect(t.answer(ann, slice?.id, 100)).toEqual([{ type: 'taken' }])
  })

  it('E7 are leased again when their time is over, and the late answer is refused', () => {
    const t = table()
    const late = t.lease(ann)
    t.lease(bob)
    t.now = SLICE_MS - 1
    expect(t.lease(cai)?.first).toBe(32)
    expect(nextWake(t.state)).toBe(SLICE_MS)
    t.now = SLICE_MS
    expect(t.answer(ann, late?.id, 100)).toEqual([{ type: 'refused', reason: 'not-leased' }])
    expect(t.lease(dee)?.first).toBe(0)
  })

  it('E7 are leased again when their volunteer goes', () => {
    const t = table()
    t.lease(ann)
    t.lease(bob)
    t.gone(ann)
    expect(t.lease(cai)?.first).toBe(0)
  })

  it('E7 do not stay leased for longer when the clock is set back', () => {
    const t = table()
    t.now = 10 * SLICE_MS
    t.lease(ann)
    t.now = 0
    t.tick()
    expect(nextWake(t.state)).toBe(SLICE_MS)
  })

  it('E8 are settled by two that agree within rounding, at their mean', () => {
    const t = table()
    const nats = 8_000
    const close = nats * (1 + 0.9 * tolerance(CONFIG))
    t.measure(ann, [nats, 1])
    t.measure(bob, [close, 1])
    expect(settledOf(t)).toEqual([(nats + close) / 2, null])
  })

  it('E8 E9 are settled by a third where two disagree; the odd one is reported and gets no more', () => {
    const t = table()
    t.measure(ann, [8_000, 1])
    t.measure(eve, [8_000 * (1 + 1.1 * tolerance(CONFIG)), 1]) // no rounding explains that
    expect(settledOf(t)).toEqual([null, null])
    expect(t.measure(bob, [8_000, 1])).toEqual([
      { type: 'taken' },
      expect.objectContaining({ type: 'odd', volunteer: eve, round: 1, agreed: 8_000 }),
    ])
    expect(settledOf(t)).toEqual([8_000, null])
    expect(t.lease(eve)).toBeNull()
    expect(t.lease(ann)?.first).toBe(32)
  })

  it('E9 ask five at most, then the evaluation has failed and the next begins', () => {
    const t = table()
    const answers = [1_000, 2_000, 3_000, 4_000, 5_000]
    t.measure('volunteer-0', [1_000, 1])
    t.order(order(2))
    const effects = answers.slice(1).map((nats, i) => t.measure(`volunteer-${i + 1}`, [nats, 1]))
    expect(effects.at(-1)).toContainEqual({ type: 'failed', order: order(1), first: 0, answers })
    expect(t.state.open?.order.round).toBe(2)
  })

  it.each([
    ['other weights', { weights: [hashOf(1)] }, 'other-weights'],
    ['weights in another order', { weights: [hashOf(2), hashOf(1)] }, 'other-weights'],
    ['another number of tokens', { tokens: 64 }, 'other-tokens'],
    ['more than any model loses', { nats: 1e8 }, 'impossible'],
    ['no number', { nats: Number.NaN }, 'impossible'],
    ['an endless number', { nats: Number.POSITIVE_INFINITY }, 'impossible'],
    ['less than nothing', { nats: -1 }, 'impossible'],
  ])('E10 refuse %s, and their sender gets no more', (_name, change, reason) => {
    const t = table()
    const slice = t.lease(eve)
    expect(t.answer(eve, slice?.id, 100, change)).toEqual([{ type: 'refused', reason }])
    expect(t.lease(eve)).toBeNull()
    t.measure(ann, [100, 1])
    t.measure(bob, [100, 1])
    expect(settledOf(t)).toEqual([100, null])
  })

  it('E10 refuse what was never leased, leased to another, or answered before', () => {
    const t = table()
    const slice = t.lease(ann)
    const refused = [{ type: 'refused', reason: 'not-leased' }]
    expect(t.answer(ann, 'slice-999', 100)).toEqual(refused)
    expect(t.answer(eve, slice?.id, 100)).toEqual(refused)
    expect(t.answer(ann, slice?.id, 100)).toEqual([{ type: 'taken' }])
    expect(t.answer(ann, slice?.id, 100)).toEqual(refused)
    expect(t.state.open?.parts[0]?.answers).toHaveLength(1)
  })

  it('E11 complete the evaluation with their sum', () => {
    const t = table()
    for (const volunteer of [ann, bob, ann]) t.measure(volunteer, [100, 25])
    expect(t.measure(bob, [100, 25])).toEqual([
      { type: 'taken' },
      { type: 'complete', order: order(1), nats: 125 },
    ])
    expect(t.state).toEqual(NO_SLICES)
  })
})

describe('evaluations', () => {
  it('E4 wait for the one that is open; the newest is next', () => {
    const t = table()
    t.lease(ann)
    expect(t.order(order(2))).toEqual([])
    expect(t.order(order(3))).toEqual([])
    expect(t.lease(bob, 3)).toBeNull() // not yet
    for (const round of [1, 3, 2]) {
      expect(t.state.open?.order.round).toBe(round)
      for (const volunteer of [ann, ann, bob, bob]) t.measure(volunteer, [100, 25], round)
    }
    expect(t.state).toEqual(NO_SLICES)
  })

  it('E4 wait in sixteen places, and then the oldest is given up', () => {
    const t = table()
    t.lease(ann)
    for (let round = 2; round <= 17; round++) expect(t.order(order(round))).toEqual([])
    expect(t.order(order(18))).toEqual([{ type: 'superseded', order: order(2) }])
    expect(t.state.waiting.map(({ round }) => round)).toEqual(Array.from({ length: 16 }, (_, i) => 3 + i))
  })

  it('E4 go back to wait while nobody has begun them', () => {
    const t = table()
    expect(t.order(order(2))).toEqual([])
    expect(t.state).toMatchObject({ open: { order: { round: 2 } }, waiting: [{ round: 1 }] })
  })

  it('E5 give way when nothing is answered and another waits', () => {
    const t = table()
    t.now = 5
    t.measure(ann, [100, 25])
    t.now = 10 * SLICE_MS
    expect(t.tick()).toEqual([]) // nobody waits
    t.now = 20
    t.order(order(2))
    expect(nextWake(t.state)).toBe(5 + 2 * SLICE_MS)
    t.now = 5 + 2 * SLICE_MS
    expect(t.tick()).toEqual([{ type: 'superseded', order: order(1) }])
    expect(t.state.open?.order.round).toBe(2)
    expect(t.state.open?.parts.every(({ answers }) => answers.length === 0)).toBe(true)
  })

  it('are given up when nothing of them is wanted any more', () => {
    const t = table()
    t.order(order(2))
    const given = { type: 'withdraw', now: 0 } as const
    expect(t.send(given).map((effect) => effect.type)).toEqual(['superseded', 'superseded'])
    expect(t.state).toEqual(NO_SLICES)
    expect(t.send(given)).toEqual([])
    expect(nextWake(t.state)).toBeNull()
  })
})
