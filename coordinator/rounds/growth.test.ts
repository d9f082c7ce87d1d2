/** [R14] by structure, not by time: what an event leaves alone, and how much a commit keeps. lab/swarm measures. */
import { describe, expect, it } from 'vitest'
import { defaultRunConfig } from '../../shared/protocol/defaults.ts'
import { Book } from './book.ts'
import { RoundDriver } from './driver.ts'
import type { RoundEvent } from './events.ts'
import { changes } from './kept.ts'
import { reduce } from './machine.ts'
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
