/** [R14] by counting, not by time: what an event reads and leaves alone, and how much a commit keeps. lab/swarm measures. */
import { describe, expect, it } from 'vitest'
import { defaultRunConfig } from '../../shared/protocol/defaults.ts'
import { Book } from './book.ts'
import { RoundDriver } from './driver.ts'
import type { Effect, RoundEvent } from './events.ts'
import { changes } from './kept.ts'
import { nextWake, reduce } from './machine.ts'
import { freshMedian } from './schedule.ts'
import { freshMachine, type Machine } from './state.ts'

const BASE = { parameters: 10, weights: 'a'.repeat(64), exact: null, velocity: null, largest: 1 }
const volunteer = (i: number) => `tab-${10_000 + i}`

/** Everybody is present; the first two hold all the leases there are. */
function crowd(volunteers: number): Machine {
  const config = { ...defaultRunConfig('nano'), quorum: 2, replicas: 2, strict: false }
  const prepared = { run: 'run-00001', config, sequenceLength: 64, sequencesPerEpoch: 1_000_000 }
  const joins: RoundEvent[] = Array.from({ length: volunteers }, (_, i) => ({
    type: 'join',
    volunteer: volunteer(i),
    tokensPerSecond: 100 + i,
    now: 0,
  }))
  const events: RoundEvent[] = [{ type: 'start', now: 0 }, ...joins, asks(0), asks(1)]
  return events.reduce(
    (state, event) => reduce(state, event).state,
    freshMachine({ ...prepared, fragments: [BASE] }),
  )
}

const asks = (i: number): RoundEvent => ({
  type: 'request',
  volunteer: volunteer(i),
  id: `lease-${1_000 + i}`,
  after: null,
  tokensPerSecond: 100 + i,
  told: Book.of<number>([]),
  now: 0,
})

describe('[R14] a crowd', () => {
  it('that waits changes nothing: every part of the state is the same object', () => {
    const before = crowd(200)
    const { state, effects } = reduce(before, asks(150))
    expect(effects).toEqual([{ type: 'wait', volunteer: volunteer(150), reason: 'round-full' }])
    const changed = (Object.keys(before) as (keyof Machine)[]).filter((key) => before[key] !== state[key])
    expect(changed).toEqual([])
  })

  it('needs no transaction and tells nobody anything while it waits', async () => {
    const calls: string[] = []
    const driver = new RoundDriver(crowd(200), {
      clock: { now: () => 0, at: () => () => undefined },
      commit: async () => void calls.push('commit'),
      merge: () => new Promise(() => undefined),
      changed: () => void calls.push('changed'),
      roundClosed: () => undefined,
      problem: () => undefined,
    })
    await driver.dispatch(asks(150))
    await driver.dispatch({ ...asks(151), tokensPerSecond: 5 } as RoundEvent) // another speed
    expect(calls).toEqual(['changed'])
  })

  it('is not kept: a commit is as long with 1,000 as with 10', () => {
    const length = (volunteers: number) => JSON.stringify([...changes(null, crowd(volunteers))]).length
    // Their speeds differ, so do the steps of two leases: a few digits.
    expect(Math.abs(length(1_000) - length(10))).toBeLessThan(20)
  })

  it('[L8] has its median taken anew after more than a sixteenth of it has changed', () => {
    const { median, ...rest } = crowd(160)
    expect(median).toEqual({ speed: 180, changes: 0 }) // 100 … 259: the faster of the two in the middle
    expect(freshMedian({ ...rest, median: { speed: 7, changes: 10 } }).speed).toBe(7)
    expect(freshMedian({ ...rest, median: { speed: 7, changes: 11 } }).speed).toBe(180)
  })
})

/**
 * A round of so many contributions in the middle: of every eight volunteers four have contributed, of whom two train ahead,
 * one is gone, one has been refused once, and one has given its lease back, so that gaps in the data wait to be leased.
 */
function midRound(replicas: number): Machine {
  const everybody = Array.from({ length: replicas }, (_, i) => i)
  const eighths = (...of: number[]) => everybody.filter((i) => of.includes(i % 8))
  const events: RoundEvent[] = [
    { type: 'start', now: 0 },
    ...everybody.map(joins),
    ...everybody.map(asks),
    ...eighths(0, 1, 2, 3).map((i) => contributes(i)),
    ...eighths(0, 1).map((i) => ahead(i)),
    ...eighths(4).map((i): RoundEvent => ({ type: 'disconnect', volunteer: volunteer(i), now: i })),
    ...eighths(5).flatMap((i) => [unfit(i), asks(i)]),
    ...eighths(6).map((i) => release(i)),
  ]
  return events.reduce((state, event) => reduce(state, event).state, freshMachine(prepared(replicas)))
}

const prepared = (replicas: number) => ({
  run: 'run-00001',
  config: { ...defaultRunConfig('nano'), quorum: 1, replicas, overlap: true, strict: false },
  sequenceLength: 64,
  sequencesPerEpoch: 1_000_000_000,
  fragments: [BASE],
})
const joins = (i: number): RoundEvent => ({
  ...{ type: 'join', volunteer: volunteer(i), tokensPerSecond: 100, now: 0 },
})

const lease = (i: number) => ({ volunteer: volunteer(i), lease: `lease-${1_000 + i}` })
const own = (i: number) => ({ ...lease(i), now: 1_000 })
const content = { hash: 'c'.repeat(64), bytes: 9, steps: 1, trainLoss: 5 }
const contributes = (i: number): RoundEvent => ({ type: 'contribution', ...own(i), content })
const release = (i: number): RoundEvent => ({ type: 'release', ...own(i) })
const unfit = (i: number): RoundEvent => ({ type: 'unfit', ...own(i), reason: 'not-finite', hash: null })
const ahead = (i: number): RoundEvent => ({
  ...{ type: 'request', volunteer: volunteer(i), id: `ahead-${1_000 + i}`, after: own(i).lease },
  ...{ tokensPerSecond: 100, told: Book.of<number>([]), now: 1_000 },
})
const member = (i: number) => ({ ...lease(i), ...content, weight: 64 * defaultRunConfig('nano').batchSize })

/** Counts whatever is read of the objects that it gives: a key listed is one, and so is a value. */
class Count {
  reads = 0
  readonly #watched = new WeakMap<object, object>()

  of<T extends object>(target: T): T {
    const known = this.#watched.get(target) as T | undefined // what it was put in for
    if (known) return known
    const watched = new Proxy(target, {
      get: (object, key, receiver) => {
        this.reads += 1
        const value: unknown = Reflect.get(object, key, receiver)
        return typeof value === 'object' && value !== null ? this.of(value) : value
      },
      ownKeys: (object) => {
        const keys = Reflect.ownKeys(object)
        this.reads += keys.length
        return keys
      },
    })
    this.#watched.set(target, watched)
    this.#watched.set(watched, watched)
    return watched
  }
}

/** What an event reads of the state: to change it, to know what to keep, and when to look again. */
function handle(count: Count, before: Machine, event: RoundEvent) {
  const watched = count.of(before)
  const { state, effects } = reduce(watched, event)
  const pieces = [...changes(watched, state)]
  nextWake(state)
  return { state, pieces, ended: effects.map(({ type }) => type) }
}

describe('[R14] a round', () => {
  const FEW = 64
  const MANY = 4_096
  const rounds = [midRound(FEW), midRound(MANY)] as const
  const now = 2_000

  it.each<[what: string, event: RoundEvent, effect: Effect['type'] | null]>([
    ['a tick', { type: 'tick', now }, null],
    ['who comes', { type: 'join', volunteer: 'newcomer', tokensPerSecond: 90, now }, null],
    ['who comes back', { type: 'join', volunteer: volunteer(12), tokensPerSecond: 90, now }, null],
    ['who stops', { type: 'leave', volunteer: volunteer(7), now }, 'lease-ended'],
    ['who disappears', { type: 'disconnect', volunteer: volunteer(7), now }, null],
    ['who is removed', { type: 'remove', volunteer: volunteer(7), now }, 'lease-ended'],
    ['who asks', asks(14), 'granted'],
    ['who asks again', asks(15), 'granted'],
    ['who asks and has contributed', asks(10), 'wait'],
    ['who asks for a lease ahead', ahead(10), 'granted'],
    ['a speed of another', { ...asks(14), told: Book.of([[volunteer(15), 50]]) } as RoundEvent, 'granted'],
    ['a lease given back', release(15), 'lease-ended'],
    ['a contribution', contributes(15), 'accepted'],
    [
      'a mean of two',
      { type: 'group', mean: BASE.weights, members: [member(15), member(23)], now },
      'accepted',
    ],
    ['what is unfit', unfit(15), 'lease-ended'],
    ['what is stale', release(14), null],
  ])(
    'of 64 times the contributions costs %s no 5 times as much, and keeps as much of it',
    (_what, event, effect) => {
      const [few, many] = rounds.map((round): Cost => {
        const count = new Count()
        const { pieces, ended } = handle(count, round, event)
        if (effect !== null) expect(ended).toContain(effect)
        return { reads: count.reads, bytes: JSON.stringify(pieces).length }
      }) as [Cost, Cost] // as many as there are rounds
      expect(many.reads).toBeLessThan(5 * few.reads)
      expect(Math.abs(many.bytes - few.bytes)).toBeLessThan(100) // another range or two of data
    },
  )

  it('costs what its contributions do: each of 512 no 3 times as much as each of 64, its end and merge with it', () => {
    const each = (replicas: number) => {
      const everybody = Array.from({ length: replicas }, (_, i) => i)
      const count = new Count()
      let { state } = handle(count, freshMachine(prepared(replicas)), { type: 'start', now: 0 })
      const base = { ...BASE, weights: 'b'.repeat(64) }
      const merged = { base, delta: { hash: 'd'.repeat(64), bytes: 10 } }
      for (const event of [
        ...everybody.map(joins),
        ...everybody.map(asks),
        ...everybody.map(contributes),
        { type: 'merged', round: 1, era: 0, merged, now },
      ] as const)
        state = handle(count, state, event).state
      expect(state.round).toBe(2)
      return count.reads / replicas
    }
    expect(each(512)).toBeLessThan(3 * each(64))
  })
})

interface Cost {
  readonly reads: number
  readonly bytes: number
}
