/** [R14] Every question to open leases is answered as by whoever looks at all of them. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Leases, UNKNOWN } from './leases.ts'
import type { OpenLease } from './state.ts'

const VOLUNTEERS = Array.from({ length: 20 }, (_, i) => `tab-${i}`)
const ROUNDS = [7, 8]

/** A volunteer has one lease a round, which is named after both. */
const idOf = (volunteer: string, round: number) => `${volunteer}/${round}`
const time = fc.integer({ min: 0, max: 30 })
const who = { volunteer: fc.constantFrom(...VOLUNTEERS), round: fc.constantFrom(...ROUNDS) }
const move = fc.oneof(
  fc.record({ ...who, type: fc.constant('with' as const), time: fc.option(time, { nil: UNKNOWN }) }),
  fc.record({ ...who, type: fc.constant('without' as const) }),
  fc.record({ ...who, type: fc.constant('orphan' as const), time: fc.option(time, { nil: null }) }),
  fc.record({ ...who, type: fc.constant('expect' as const), time: fc.option(time, { nil: UNKNOWN }) }),
  fc.record({ type: fc.constant('clock' as const), time }),
  fc.record({ type: fc.constant('late' as const), round: who.round }),
)

const leaseOf = (volunteer: string, round: number): OpenLease => ({
  ...{ volunteer, round, after: null, steps: 1, ranges: [], issuedAt: 0, orphanedAt: null, late: false },
})

interface Entry {
  lease: OpenLease
  end: number
}

function moved(
  leases: Leases,
  all: Map<string, Entry>,
  one: typeof move extends fc.Arbitrary<infer M> ? M : never,
) {
  if (one.type === 'clock') {
    for (const entry of all.values()) {
      const { orphanedAt } = entry.lease
      if (orphanedAt !== null) entry.lease = { ...entry.lease, orphanedAt: Math.min(orphanedAt, one.time) }
    }
    return leases.goneNoLaterThan(one.time)
  }
  if (one.type === 'late') {
    for (const entry of all.values())
      if (entry.lease.round === one.round) entry.lease = { ...entry.lease, late: true }
    return leases.lateOf(one.round)
  }
  const id = idOf(one.volunteer, one.round)
  const entry = all.get(id)
  switch (one.type) {
    case 'with':
      all.set(id, { lease: leaseOf(one.volunteer, one.round), end: one.time })
      return leases.with(id, leaseOf(one.volunteer, one.round), one.time)
    case 'without':
      all.delete(id)
      return leases.without(id)
    case 'orphan':
      if (entry) entry.lease = { ...entry.lease, orphanedAt: one.time }
      return leases.orphan(id, one.time)
    case 'expect':
      if (entry) entry.end = one.time
      return leases.expect(id, one.time)
  }
}

describe('[R14] open leases', () => {
  it('answer as if all were looked at, whatever happens to them', () => {
    fc.assert(
      fc.property(fc.array(move, { maxLength: 150 }), time, (moves, now) => {
        const all = new Map<string, Entry>()
        const leases = moves.reduce((before, one) => moved(before, all, one), Leases.of([]))
        const entries = [...all]
        expect(leases.size).toBe(all.size)
        expect(leases.toJSON()).toEqual(Object.fromEntries(entries.map(([id, { lease }]) => [id, lease])))
        for (const volunteer of VOLUNTEERS) {
          const own = ROUNDS.map((round) => idOf(volunteer, round)).filter((id) => all.has(id))
          expect(leases.of(volunteer)).toEqual(own.map((id) => [id, all.get(id)?.lease]))
          expect(leases.holds(volunteer)).toBe(own.length > 0)
        }
        for (const round of ROUNDS) {
          const of = entries.filter(([, { lease }]) => lease.round === round)
          expect(leases.countOf(round)).toBe(of.length)
          expect(leases.idsOf(round).sort()).toEqual(of.map(([id]) => id).sort())
          for (const but of VOLUNTEERS) {
            const ends = of.flatMap(([, { lease, end }]) => (lease.volunteer === but ? [] : [end]))
            expect(leases.lastEnd(round, but)).toBe(Math.max(UNKNOWN, ...ends))
          }
        }
        expect(leases.late).toBe(entries.filter(([, { lease }]) => lease.late).length)
        const gone = entries.flatMap(([id, { lease }]) =>
          lease.orphanedAt === null ? [] : [{ id, since: lease.orphanedAt }],
        )
        expect(leases.longestGone).toBe(gone.length > 0 ? Math.min(...gone.map(({ since }) => since)) : null)
        const due = gone.filter(({ since }) => since <= now).map(({ id }) => id)
        expect(leases.goneSince(now).sort()).toEqual(due.sort())
      }),
    )
  })

  it('are the same, however they came about', () => {
    fc.assert(
      fc.property(fc.array(move, { maxLength: 150 }), (moves) => {
        const all = new Map<string, Entry>()
        const leases = moves.reduce((before, one) => moved(before, all, one), Leases.of([]))
        const anew = [...all].reverse().map(([id, { lease, end }]) => [id, lease, end] as const)
        expect(Leases.of(anew)).toStrictEqual(leases)
      }),
    )
  })
})
