/** [L11] The real round machine, and a crowd that asks only when it is called. */
import { describe, expect, it } from 'vitest'
import { defaultRunConfig } from '../../shared/protocol/defaults.ts'
import { Book } from './book.ts'
import type { Effect, RoundEvent } from './events.ts'
import { reduce } from './machine.ts'
import { Chance } from './property/chance.ts'
import { freshMachine, type Machine, type OpenLease } from './state.ts'
import { CALL_MS, Waiting } from './waiting.ts'

const BASE = { parameters: 10, weights: 'a'.repeat(64), exact: null, velocity: null, largest: 1 }
type WithoutTime<T> = T extends unknown ? Omit<T, 'now'> : never

/** A coordinator and its tabs, as far as leases go. */
class Table {
  machine: Machine
  readonly waiting = new Waiting()
  now = 0
  requests = 0
  /** Who was called and has not asked since. */
  readonly called = new Set<string>()
  /** Whose round ended before they were done: they hear of it, and ask. */
  readonly overtaken: string[] = []
  /** By volunteer, the newest. */
  readonly leases = new Map<string, { id: string; lease: OpenLease }>()

  constructor(replicas: number, more: { overlap?: boolean; quorum?: number } = {}) {
    const config = {
      ...defaultRunConfig('nano'),
      quorum: 1,
      replicas,
      strict: false,
      rounds: 1_000,
      deadlineSeconds: 60,
      ...more,
    }
    const prepared = { run: 'run-00001', config, sequenceLength: 64, sequencesPerEpoch: 1_000_000_000 }
    this.machine = freshMachine({ ...prepared, fragments: [BASE] })
  }

  send(event: WithoutTime<RoundEvent>): Effect[] {
    const { state, effects } = reduce(this.machine, { ...event, now: this.now } as RoundEvent)
    this.machine = state
    for (const effect of effects) {
      if (effect.type !== 'lease-ended') continue
      for (const [who, { id }] of this.leases) {
        if (id !== effect.lease) continue
        this.leases.delete(who)
        if (effect.end === 'closed') this.overtaken.push(who)
      }
    }
    this.look()
    return effects
  }

  look(): void {
    for (const one of this.waiting.call(this.machine, this.now)) this.called.add(one)
  }

  /** As Runs.request does. */
  ask(volunteer: string, after: string | null = null): boolean {
    this.called.delete(volunteer)
    const asked = { volunteer, id: `lease-${1_000 + this.requests++}`, after }
    const effects = this.send({ type: 'request', ...asked, tokensPerSecond: 100, told: Book.of<number>([]) })
    const granted = effects.find((effect) => effect.type === 'granted')
    if (granted) {
      this.leases.set(volunteer, granted)
      this.waiting.forget(volunteer)
    } else this.waiting.refused(volunteer)
    this.look()
    return granted !== undefined
  }

  /** Everybody who was called, until nobody is. Answers who got a lease. */
  answer(): string[] {
    const granted: string[] = []
    while (this.called.size > 0)
      for (const volunteer of [...this.called]) if (this.ask(volunteer)) granted.push(volunteer)
    return granted
  }

  contribute(volunteer: string): void {
    const { id: lease } = this.leases.get(volunteer) ?? { id: 'none' }
    const content = { hash: lease.padEnd(64, '0'), bytes: 9, steps: 1, trainLoss: 5 }
    this.send({ type: 'contribution', volunteer, lease, content })
  }

  /** The merge that is under way is done. */
  merge(): void {
    const { round, era } = this.machine
    const merged = {
      base: { ...BASE, weights: String(round).padStart(64, 'b') },
      delta: { hash: String(round).padStart(64, 'd'), bytes: 9 },
    }
    this.send({ type: 'merged', round, era, merged })
  }

  leave(volunteer: string): void {
    this.called.delete(volunteer)
    this.leases.delete(volunteer)
    this.waiting.forget(volunteer)
    this.send({ type: 'leave', volunteer })
  }
}

const name = (i: number) => `tab-${10_000 + i}`

function crowd(
  volunteers: number,
  replicas: number,
  more: { overlap?: boolean; quorum?: number } = {},
): Table {
  const table = new Table(replicas, more)
  for (let i = 0; i < volunteers; i++) {
    table.send({ type: 'join', volunteer: name(i), tokensPerSecond: 100 })
    expect(table.ask(name(i))).toBe(false)
  }
  return table
}

describe('[L11] those who wait', () => {
  it('are called when the run starts: as many as there are places, who asked first', () => {
    const table = crowd(100, 8)
    expect(table.called.size).toBe(0)
    table.send({ type: 'start' })
    expect(table.answer()).toEqual(Array.from({ length: 8 }, (_, i) => name(i)))
    expect(table.requests).toBe(100 + 8)
  })

  it('take turns, each round at the cost of its places', () => {
    const table = crowd(100, 8, { overlap: false })
    table.send({ type: 'start' })
    const turns: string[] = []
    for (let round = 0; round < 25; round++) {
      const before = table.requests
      const granted = table.answer()
      for (const one of granted) {
        table.contribute(one)
        expect(table.ask(one)).toBe(false) // its receipt has come: it asks, and waits for the next round
      }
      expect(granted).toHaveLength(8)
      expect(table.requests - before).toBe(2 * 8)
      table.merge()
      turns.push(...granted)
    }
    expect(new Set(turns.slice(0, 100)).size).toBe(100)
    expect(turns.slice(100)).toEqual(turns.slice(0, 100))
  })

  it('are called to a place that was given back, and to no other', () => {
    const table = crowd(10, 2)
    table.send({ type: 'start' })
    const [first] = table.answer()
    const { id } = table.leases.get(first ?? '') ?? { id: '' }
    table.send({ type: 'release', volunteer: first ?? '', lease: id })
    expect([...table.called]).toEqual([name(2)])
  })

  it('get the place of who was called and does not ask', () => {
    const table = crowd(10, 1)
    table.send({ type: 'start' })
    expect([...table.called]).toEqual([name(0)])
    table.called.clear() // it was lost on the way
    expect(table.waiting.until).toBe(CALL_MS)
    table.now = CALL_MS - 1
    table.look()
    expect(table.called.size).toBe(0)
    table.now = CALL_MS
    table.look()
    expect([...table.called]).toEqual([name(1)])
  })

  it('get the places of those who missed the deadline of a round that lacks its quorum', () => {
    const table = crowd(4, 2, { quorum: 2 })
    table.send({ type: 'start' })
    const [first, second] = table.answer()
    table.contribute(first ?? '')
    table.now = 60_000
    table.send({ type: 'tick' })
    expect([...table.called]).toEqual([name(2)])
    expect(table.answer()).toEqual([name(2)])
    expect(table.machine.leases.holds(second ?? '')).toBe(true)
    table.contribute(name(2))
    expect(table.machine.phase).toBe('merging')
  })

  it('are not called when they have left, nor while the run is paused', () => {
    const table = crowd(3, 1)
    table.leave(name(0))
    table.send({ type: 'start' })
    expect([...table.called]).toEqual([name(1)])
    table.leave(name(1))
    expect([...table.called]).toEqual([name(2)])
    table.leave(name(2))
    table.send({ type: 'pause' })
    table.send({ type: 'join', volunteer: name(3), tokensPerSecond: 100 })
    table.ask(name(3))
    expect(table.called.size).toBe(0)
    table.send({ type: 'resume' })
    expect([...table.called]).toEqual([name(3)])
  })

  it('are called to their own place when they were loaded anew in a pause', () => {
    const table = crowd(1, 1)
    table.send({ type: 'start' })
    expect(table.answer()).toEqual([name(0)])
    table.send({ type: 'pause' })
    table.send({ type: 'disconnect', volunteer: name(0) })
    table.send({ type: 'join', volunteer: name(0), tokensPerSecond: 100 })
    expect(table.ask(name(0))).toBe(false)
    table.send({ type: 'resume' })
    expect(table.answer()).toEqual([name(0)])
  })

  it('never wait beside a place that they may have, whatever happens', () => {
    for (let seed = 0; seed < 40; seed++) {
      const chance = new Chance(`waiting/${seed}`)
      const volunteers = chance.between(2, 12)
      const replicas = chance.between(1, 6)
      const quorum = chance.between(1, replicas)
      const table = crowd(volunteers, replicas, { overlap: chance.of(0.5), quorum })
      table.send({ type: 'start' })
      const there = new Set(Array.from({ length: volunteers }, (_, i) => name(i)))
      for (let step = 0; step < 120; step++) {
        table.now += chance.between(0, 4_000)
        table.send({ type: 'tick' })
        const who = name(chance.between(0, volunteers - 1))
        const held = table.leases.get(who)
        if (!there.has(who)) {
          there.add(who)
          table.send({ type: 'join', volunteer: who, tokensPerSecond: 100 })
          table.ask(who)
        } else if (chance.of(0.1)) {
          there.delete(who)
          table.leave(who)
        } else if (held && chance.of(0.2)) {
          table.leases.delete(who)
          table.send({ type: 'release', volunteer: who, lease: held.id })
          table.ask(who)
        } else if (held?.lease.round === table.machine.round) {
          if (chance.of(0.5)) table.ask(who, held.id)
          table.leases.set(who, table.leases.get(who) ?? held)
          const { id } = held
          table.send({
            ...{ type: 'contribution', volunteer: who, lease: id },
            content: { hash: id.padEnd(64, '0'), bytes: 9, steps: 1, trainLoss: 5 },
          })
          if (!table.machine.leases.holds(who)) table.leases.delete(who)
          if (!table.leases.has(who)) table.ask(who, id)
        }
        if (table.machine.phase === 'merging') table.merge()
        for (const one of table.overtaken.splice(0)) if (there.has(one)) table.ask(one)
        table.answer()
        // Whoever is there has a lease, or asking would bring none.
        for (const one of there) {
          if (table.machine.leases.holds(one)) continue
          const asked = {
            volunteer: one,
            id: 'lease-9999999',
            after: null,
            tokensPerSecond: 100,
            now: table.now,
          }
          const { effects } = reduce(table.machine, { type: 'request', ...asked, told: Book.of<number>([]) })
          expect(effects.map(({ type }) => type)).toContain('wait')
        }
      }
    }
  })
})
