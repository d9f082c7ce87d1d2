/** The slice machine's promises under random events: honest volunteers, liars, deaths, late answers and new rounds. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { PRESETS } from '../../shared/model/config.ts'
import { LIMITS } from '../../shared/protocol/limits.ts'
import { tolerance } from './agreement.ts'
import { NO_SLICES, type Order, reduce, type SliceEffect, type SliceEvent, type Slices } from './slices.ts'

const CONFIG = PRESETS.nano
const RHO = tolerance(CONFIG)
/** The last of them lies. */
const VOLUNTEERS = ['ann-0000', 'bob-0000', 'cai-0000', 'dee-0000', 'eve-0000'] as const
const LIAR = VOLUNTEERS.length - 1
const SLICE_MS = LIMITS.evaluation.sliceSeconds * 1_000

const orderOf = (round: number): Order => ({
  run: 'run-00001',
  round,
  weights: [round.toString(16).padStart(64, '0')],
  config: CONFIG,
  set: 'a'.repeat(64),
  sequences: 100,
})
/** What a slice really comes to, and what rounding makes of it. */
const truth = (round: number, first: number) => 1_000 + 10 * round + first
const rounded = (nats: number, who: number) => nats * (1 + ((who % 3) - 1) * 0.2 * RHO)

const who = fc.integer({ min: 0, max: LIAR })
/** As a share: gross ones, and ones about as large as the tolerance. */
const lie = fc.oneof(
  fc.double({ min: 0, max: 2, noNaN: true }),
  fc.double({ min: 0, max: 3 * RHO, noNaN: true }),
)
const action = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('request' as const), who }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('answer' as const),
      who,
      lie,
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('gone' as const), who }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.nat(2 * SLICE_MS) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('order' as const) }) },
)

type Action = typeof action extends fc.Arbitrary<infer T> ? T : never

it('keep every promise in every order of events', () => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 300 }), (actions) => {
      const house = new House()
      for (const one of actions) house.act(one)
      house.finish()
    }),
    { numRuns: 200 },
  )
})

class House {
  #state: Slices = NO_SLICES
  #now = 0
  #ids = 0
  #round = 0
  readonly #held = new Map<string, { id: string; first: number; count: number; round: number }>()
  readonly #ended: number[] = []

  constructor() {
    this.#order()
  }

  act(one: Action): void {
    switch (one.do) {
      case 'request':
        this.#request(one.who)
        return
      case 'answer':
        this.#answer(one.who, one.lie)
        return
      case 'gone':
        this.#held.delete(VOLUNTEERS[one.who] as string)
        this.#send({ type: 'gone', volunteer: VOLUNTEERS[one.who] as string, now: this.#now })
        return
      case 'wait':
        this.#now += one.ms
        this.#send({ type: 'tick', now: this.#now })
        return
      case 'order':
        this.#order()
        return
      default:
        one satisfies never
    }
  }

  /** With two honest volunteers who do their best, everything comes to its end, and every order is answered once. */
  finish(): void {
    for (let lap = 0; lap < 40 && this.#state.open !== null; lap++) {
      this.#now += SLICE_MS // what others hold is over
      for (let i = 0; i < 2 * (LIAR - 1); i++) {
        this.#request(i % LIAR)
        this.#answer(i % LIAR, 0)
      }
    }
    expect(this.#state).toEqual(NO_SLICES)
    expect([...this.#ended].sort((a, b) => a - b)).toEqual(
      Array.from({ length: this.#round }, (_, i) => i + 1),
    )
  }

  #order(): void {
    this.#round += 1
    this.#send({ type: 'order', order: orderOf(this.#round), now: this.#now })
  }

  #request(index: number): void {
    const volunteer = VOLUNTEERS[index] as string
    const round = this.#state.open?.order.round ?? 0
    const asked = { volunteer, run: 'run-00001', round, id: `slice-${1_000 + this.#ids++}`, now: this.#now }
    const leased = this.#send({ type: 'request', ...asked }).find((effect) => effect.type === 'leased')
    this.#held.delete(volunteer)
    if (leased) this.#held.set(volunteer, leased.slice)
  }

  /** The liar's answer is off by `lie`, as a share; 0 is the truth. */
  #answer(index: number, lie: number): void {
    const volunteer = VOLUNTEERS[index] as string
    const slice = this.#held.get(volunteer)
    if (slice === undefined) return
    const { weights } = orderOf(slice.round)
    const nats = rounded(truth(slice.round, slice.first), index) * (index === LIAR ? 1 + lie : 1)
    const tokens = slice.count * CONFIG.sequenceLength
    this.#send({ type: 'answer', volunteer, id: slice.id, weights, nats, tokens, now: this.#now })
    this.#held.delete(volunteer)
  }

  #send(event: SliceEvent): SliceEffect[] {
    const { state, effects } = reduce(this.#state, event)
    this.#state = state
    for (const effect of effects) this.#check(effect)
    for (const part of state.open?.parts ?? []) {
      const people = [...part.answers, ...part.leases].map(({ volunteer }) => volunteer)
      expect(new Set(people).size).toBe(people.length) // E6
      expect(part.answers.length).toBeLessThanOrEqual(LIMITS.evaluation.answers)
    }
    const holders = (state.open?.parts ?? []).flatMap(({ leases }) =>
      leases.map(({ volunteer }) => volunteer),
    )
    expect(new Set(holders).size).toBe(holders.length)
    return effects
  }

  #check(effect: SliceEffect): void {
    switch (effect.type) {
      case 'complete': {
        this.#ended.push(effect.order.round)
        const { round } = effect.order
        const expected = [0, 32, 64, 96].reduce((sum, first) => sum + truth(round, first), 0)
        // However the liar lied, the sum is off by no more than the tolerance.
        expect(Math.abs(effect.nats / expected - 1)).toBeLessThan(1.5 * RHO)
        return
      }
      case 'odd':
        expect(effect.volunteer).toBe(VOLUNTEERS[LIAR]) // no honest volunteer is ever reported
        return
      case 'superseded':
        this.#ended.push(effect.order.round)
        return
      case 'failed':
        throw new Error('Four honest volunteers always agree.')
      default:
    }
  }
}
