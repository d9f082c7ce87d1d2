/**
 * The open leases of this round and of the next, by whatever an event has to ask of them. Never changed, as book.ts: every
 * method that gives other leases costs O(log n), and so does every question but for what its answer has.
 */
import { Book } from './book.ts'
import type { OpenLease } from './state.ts'

/** Unix milliseconds, by lease. */
type Times = Book<number>

const byTime = (a: number, b: number): number => a - b
const NO_TIMES: Times = Book.of<number>([], byTime)

/** When a lease is expected to be done while nothing is known of its volunteer's speed. */
export const UNKNOWN = Number.NEGATIVE_INFINITY

export class Leases {
  private constructor(
    readonly byId: Book<OpenLease>,
    /** By volunteer; of one round first, then of the next. */
    private readonly held: Book<readonly string[]>,
    /** Since when their volunteers are gone. */
    private readonly orphaned: Times,
    /** By round: when they will be done. */
    private readonly ends: Readonly<Record<number, Times>>,
    /** How many are late. */
    readonly late: number,
  ) {}

  /** Leases with the times at which they will be done, or UNKNOWN. */
  static of(leases: Iterable<readonly [id: string, lease: OpenLease, end: number]>): Leases {
    let all = new Leases(Book.of<OpenLease>([]), Book.of<readonly string[]>([]), NO_TIMES, {}, 0)
    for (const [id, lease, end] of leases) all = all.with(id, lease, end)
    return all
  }

  get size(): number {
    return this.byId.size
  }

  get(id: string): OpenLease | undefined {
    return this.byId.get(id)
  }

  /** A volunteer's: one a round. */
  of(volunteer: string): (readonly [id: string, lease: OpenLease])[] {
    return (this.held.get(volunteer) ?? []).flatMap((id) => {
      const lease = this.byId.get(id)
      return lease ? [[id, lease] as const] : []
    })
  }

  holds(volunteer: string): boolean {
    return this.held.has(volunteer)
  }

  /** How many of a round there are. */
  countOf(round: number): number {
    return this.ends[round]?.size ?? 0
  }

  idsOf(round: number): string[] {
    return [...(this.ends[round]?.keys() ?? [])]
  }

  /** When the slowest lease of a round will be done, but for one volunteer's; UNKNOWN if there is none, or of none is known. */
  lastEnd(round: number, but: string): number {
    const own = this.of(but).find(([, lease]) => lease.round === round)
    const ends = this.ends[round] ?? NO_TIMES
    return (own ? ends.without(own[0]) : ends).last?.[1] ?? UNKNOWN
  }

  /** Since when the volunteer who is gone longest has been; null when nobody who holds a lease is gone. */
  get longestGone(): number | null {
    return this.orphaned.first?.[1] ?? null
  }

  /** Whose volunteers have been gone since a time or longer. */
  goneSince(time: number): string[] {
    const found: string[] = []
    for (let left = this.orphaned, one = left.first; one !== null && one[1] <= time; one = left.first) {
      found.push(one[0])
      left = left.without(one[0])
    }
    return found
  }

  /** Nobody has been gone since a later time than this one. */
  goneNoLaterThan(time: number): Leases {
    let all: Leases = this
    for (let one = all.orphaned.last; one !== null && one[1] > time; one = all.orphaned.last)
      all = all.orphan(one[0], time)
    return all
  }

  with(id: string, lease: OpenLease, end: number): Leases {
    const { volunteer, round, orphanedAt } = lease
    const rest = this.without(id)
    const ids = [...rest.of(volunteer), [id, lease] as const].sort(
      ([idA, a], [idB, b]) => a.round - b.round || (idA < idB ? -1 : 1),
    )
    return new Leases(
      rest.byId.with(id, lease),
      rest.held.with(
        volunteer,
        ids.map(([each]) => each),
      ),
      orphanedAt === null ? rest.orphaned : rest.orphaned.with(id, orphanedAt),
      { ...rest.ends, [round]: (rest.ends[round] ?? NO_TIMES).with(id, end) },
      rest.late + Number(lease.late),
    )
  }

  without(id: string): Leases {
    const lease = this.byId.get(id)
    if (!lease) return this
    const { volunteer, round } = lease
    const held = (this.held.get(volunteer) ?? []).filter((other) => other !== id)
    const { [round]: times = NO_TIMES, ...others } = this.ends
    const left = times.without(id)
    return new Leases(
      this.byId.without(id),
      held.length > 0 ? this.held.with(volunteer, held) : this.held.without(volunteer),
      this.orphaned.without(id),
      left.size > 0 ? { ...others, [round]: left } : others,
      this.late - Number(lease.late),
    )
  }

  /** A lease's volunteer is gone since a time, or null: not at all. */
  orphan(id: string, since: number | null): Leases {
    const lease = this.byId.get(id)
    if (!lease || lease.orphanedAt === since) return this
    return new Leases(
      this.byId.with(id, { ...lease, orphanedAt: since }),
      this.held,
      since === null ? this.orphaned.without(id) : this.orphaned.with(id, since),
      this.ends,
      this.late,
    )
  }

  /** A lease will be done at another time. */
  expect(id: string, end: number): Leases {
    const lease = this.byId.get(id)
    const times = lease && this.ends[lease.round]
    if (!times || times.get(id) === end) return this
    const ends = { ...this.ends, [lease.round]: times.with(id, end) }
    return new Leases(this.byId, this.held, this.orphaned, ends, this.late)
  }

  /** All of a round are late from now on. */
  lateOf(round: number): Leases {
    let { byId, late } = this
    for (const id of this.idsOf(round)) {
      const lease = byId.get(id)
      if (lease === undefined || lease.late) continue
      byId = byId.with(id, { ...lease, late: true })
      late += 1
    }
    return new Leases(byId, this.held, this.orphaned, this.ends, late)
  }

  toJSON(): Record<string, OpenLease> {
    return this.byId.toJSON()
  }
}
