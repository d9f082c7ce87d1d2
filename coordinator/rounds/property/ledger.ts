/**
 * The test's own books, kept from what became durable: which sequence of which epoch is where, who was granted what and
 * what came of it. Sums nothing that it could look up; the machine's counts are compared with these, not used.
 */
import { isDeepStrictEqual } from 'node:util'
import { LIMITS } from '../../../shared/protocol/limits.ts'
import type { DataRange } from '../../../shared/protocol/run.ts'
import type { ClosedRound, Effect, LeaseEnd, Merge } from '../events.ts'
import { nextWake } from '../machine.ts'
import {
  type AcceptedContribution,
  checkpointOf,
  type Machine,
  machineSchema,
  type OpenLease,
} from '../state.ts'
import type { Upload } from './tab.ts'

export interface LeaseEntry extends Pick<OpenLease, 'volunteer' | 'round' | 'steps' | 'ranges'> {
  end: LeaseEnd | null
}

export interface AcceptedEntry extends AcceptedContribution {
  readonly round: number
  /** Of discarded ones, whether they had been. */
  readonly merged?: boolean
}

type Of<T extends Effect['type']> = Extract<Effect, { type: T }>

/** More than any test's epoch has sequences: a position of an epoch is one number. */
const EPOCH = 1_000_000

const positions = (ranges: readonly DataRange[]): number[] =>
  ranges.flatMap(({ epoch, first, count }) =>
    Array.from({ length: count }, (_, i) => EPOCH * epoch + first + i),
  )

export class Ledger {
  readonly leases = new Map<string, LeaseEntry>()
  readonly accepted = new Map<string, AcceptedEntry>()
  readonly refusals = new Map<string, number>()
  closed: ClosedRound[] = []
  /** What roll-backs took out of the run: counted once, and in nothing since. */
  readonly discarded = { accepted: new Map<string, AcceptedEntry>(), closed: [] as ClosedRound[] }
  /** What each round that stands left, by round. */
  readonly #left: Pick<Machine, 'fragments' | 'pool'>[] = []
  /** By hash, what is true of the bytes. */
  readonly honest = new Map<string, NonNullable<Upload['honest']>>()
  /** Positions that accepted contributions have consumed. */
  readonly #consumed = new Set<number>()
  /** Epochs before this one are consumed to the last sequence: nobody may hold one of theirs. */
  #firstOpenEpoch = 0

  /** @throws when an effect breaks a promise */
  record(machine: Machine, effects: readonly Effect[]): void {
    for (const [index, effect] of effects.entries()) {
      const givenBackSince = effects.slice(index).some(({ type }) => type === 'lease-ended')
      if (effect.type === 'granted') this.#granted(machine, effect, givenBackSince)
      if (effect.type === 'accepted') this.#accept(machine, effect)
      if (effect.type === 'lease-ended') this.#end(effect)
      if (effect.type === 'merge') this.#merge(machine, effect.merge)
      if (effect.type === 'round-closed') this.#close(machine, effect.closed)
      if (effect.type === 'rolled-back') this.#rollBack(machine, effect.rolledBack)
      if (effect.type === 'refused')
        this.refusals.set(effect.volunteer, (this.refusals.get(effect.volunteer) ?? 0) + 1)
    }
  }

  /** @throws when the state breaks a promise */
  check(machine: Machine, now: number): void {
    const kept = machineSchema.parse(JSON.parse(JSON.stringify(machine)))
    must(
      isDeepStrictEqual(kept, machine),
      '[R14] a state survives JSON, and what follows from it is what was kept up',
    )
    this.#checkLeases(machine)
    this.#checkData(machine)
    const { deadlineSeconds } = machine.config
    const wake = nextWake(machine)
    const longest = 1_000 * Math.max(deadlineSeconds, LIMITS.leaseGraceSeconds)
    must(wake === null || wake <= now + longest, '[R13] nothing is put off beyond its full length')
  }

  #granted(
    { config, pool, leases }: Machine,
    { id, volunteer, lease }: Of<'granted'>,
    givenBackSince: boolean,
  ): void {
    const { round, steps, ranges } = lease
    must(lease.volunteer === volunteer, 'a lease goes to who asked')
    must(!this.leases.has(id), '[L2] a lease is granted once')
    must(positions(ranges).length === steps * config.batchSize, '[L4] a lease names its sequences')
    const holding = [...leases.byId.values()].filter((one) => one.round === round && !one.late)
    const taken = holding.length + this.#acceptedIn(round).length
    must(taken <= config.replicas, '[L1] a lease is granted when there is a place')
    const isNew = positions(ranges).includes(EPOCH * pool.epoch + pool.cursor - 1)
    must(givenBackSince || !isNew || pool.returned.size === 0, '[D3] what was given back comes first')
    this.leases.set(id, { volunteer, round, steps, ranges, end: null })
  }

  #accept(machine: Machine, { lease: id, contribution }: Of<'accepted'>): void {
    const { config, round, sequenceLength } = machine
    const lease = this.leases.get(id)
    if (!lease || lease.end !== null) throw new Error(`Accepted for ${id}, which is not open.`)
    must(!this.accepted.has(id), 'a lease is accepted once')
    must(lease.volunteer === contribution.volunteer, 'a contribution is its volunteer’s')
    must(lease.round === round, '[L10] a contribution counts in its own round')
    const { volunteer, steps, tokens, hash, weight } = contribution
    const twice = [...this.accepted.values()].some((a) => a.volunteer === volunteer && a.round === round)
    must(!twice, '[L3] a volunteer contributes once a round')
    must(tokens === steps * config.batchSize * sequenceLength, 'tokens are those of its steps')
    for (const position of positions(lease.ranges).slice(0, steps * config.batchSize)) {
      must(!this.#consumed.has(position), '[D1] a sequence is counted once')
      this.#consumed.add(position)
    }
    const honest = this.honest.get(hash)
    const base = machine.fragments[(round - 1) % config.fragments]?.base.weights
    must(!honest || honest.base === base, 'taken against the global weights of its round')
    must(!honest || honest.tokens === weight, `[L9] weighs ${weight}, holds ${honest?.tokens}`)
    this.accepted.set(id, { ...contribution, round })
  }

  #end({ lease: id, end }: Of<'lease-ended'>): void {
    const lease = this.leases.get(id)
    if (!lease || lease.end !== null) throw new Error(`${id} ends and is not open.`)
    must((end === 'accepted') === this.accepted.has(id), 'ended as accepted, if accepted')
    lease.end = end
  }

  #merge({ config, extensions }: Machine, { round, contributions }: Merge): void {
    const { replicas, quorum, strict } = config
    const ids = this.#acceptedIn(round)
    const blobs = ids.map((id) => this.accepted.get(id)?.mean ?? id)
    const firsts = ids.filter((_, i) => blobs.indexOf(blobs[i] as string) === i)
    must(
      JSON.stringify(contributions.map(({ lease }) => lease)) === JSON.stringify(firsts),
      '[R6] [G2] exactly the accepted, in order, a mean once',
    )
    const largest = Math.max(
      ...firsts.map((first) => blobs.filter((blob) => blob === blobs[ids.indexOf(first)]).length),
    )
    const most = extensions > 0 ? replicas + largest - 1 : replicas // late ones may come with a mean
    must(ids.length <= most, '[R2] no more than replicas')
    must(ids.length >= (strict ? replicas : quorum), '[R3] [R11] no fewer than needed')
  }

  #close(machine: Machine, closed: ClosedRound): void {
    must(closed.round === this.closed.length + 1, '[R6] rounds close once, one after another')
    const ids = this.#acceptedIn(closed.round)
    must(JSON.stringify(closed.leases) === JSON.stringify(ids), '[R6] with exactly its contributions')
    must(closed.seconds >= 0, '[R13] no round takes less than no time')
    this.closed.push(closed)
    this.#left[closed.round] = { fragments: machine.fragments, pool: checkpointOf(machine).pool }
  }

  #rollBack(machine: Machine, { from, to, era }: Of<'rolled-back'>['rolledBack']): void {
    must(machine.era === era && machine.round === to + 1 && to < from, '[B1] a roll-back goes back')
    must(
      [...this.leases.values()].every(({ end }) => end !== null),
      '[B2] every lease has ended',
    )
    const left = this.#left[to]
    const bases = JSON.stringify(left?.fragments.map(({ base }) => base))
    must(!left || bases === JSON.stringify(machine.fragments.map(({ base }) => base)), '[B1] the weights')
    must(!left || JSON.stringify(left.pool) === JSON.stringify(machine.pool), '[B1] the place in the data')
    for (const [id, entry] of this.accepted) {
      if (entry.round <= to) continue
      this.accepted.delete(id)
      this.discarded.accepted.set(id, { ...entry, merged: entry.round <= this.closed.length })
      const { ranges, steps } = this.leases.get(id) ?? { ranges: [], steps: 0 }
      must(steps >= entry.steps, 'a lease is known by its contribution')
      const consumed = entry.steps * machine.config.batchSize
      for (const position of positions(ranges).slice(0, consumed)) this.#consumed.delete(position)
    }
    this.discarded.closed.push(...this.closed.slice(to))
    this.closed = this.closed.slice(0, to)
    this.#firstOpenEpoch = 0
  }

  #acceptedIn(round: number): string[] {
    return [...this.accepted].flatMap(([id, entry]) => (entry.round === round ? [id] : [])).sort()
  }

  #checkLeases({ leases, accepted, round, config, extensions }: Machine): void {
    const open = [...this.leases].filter(([, { end }]) => end === null)
    const ranges = Object.fromEntries(open.map(([id, lease]) => [id, lease.ranges]))
    const theirs = Object.fromEntries(Array.from(leases.byId.entries(), ([id, lease]) => [id, lease.ranges]))
    must(sorted(ranges) === sorted(theirs), 'the open leases are those granted and not ended')
    must(
      JSON.stringify([...accepted.keys()].sort()) === JSON.stringify(this.#acceptedIn(round)),
      'what was accepted is kept until its round has closed',
    )
    for (const each of [round, round + 1]) {
      const owners = open.flatMap(([, lease]) => (lease.round === each ? [lease.volunteer] : []))
      must(new Set(owners).size === owners.length, '[L2] one open lease a volunteer and round')
      const late = [...leases.byId.values()].filter((lease) => lease.round === each && lease.late).length
      const wasPutOff = each === round && extensions > 0
      must(late === 0 || wasPutOff, '[L1] late is who was there when the deadline was put off')
      const counted = owners.length + this.#acceptedIn(each).length
      must(counted <= config.replicas || wasPutOff, '[L1] no more leases than replicas')
    }
    must(
      open.every(([, lease]) => lease.round === round || lease.round === round + 1),
      '[L5] [L10] leases are of this round or the next',
    )
  }

  /** [D1] Every sequence up to the cursor is consumed, leased or given back: one of them, and once. */
  #checkData({ leases, pool, sequencesPerEpoch }: Machine): void {
    const open = [...leases.byId.values()].flatMap(({ ranges }) => ranges)
    const held = positions([...open, ...pool.returned])
    const all = new Set(held)
    must(all.size === held.length, '[D1] no sequence is held twice')
    let counted = 0
    for (let epoch = this.#firstOpenEpoch; epoch <= pool.epoch; epoch++) {
      const end = epoch < pool.epoch ? sequencesPerEpoch : pool.cursor
      let consumed = 0
      for (let position = EPOCH * epoch; position < EPOCH * epoch + end; position++) {
        const places = Number(this.#consumed.has(position)) + Number(all.has(position))
        must(places === 1, `[D1] sequence ${position} is in ${places} places`)
        consumed += Number(this.#consumed.has(position))
      }
      counted += end - consumed
      if (consumed === sequencesPerEpoch && epoch === this.#firstOpenEpoch) this.#firstOpenEpoch += 1
    }
    must(counted === held.length, '[D1] no sequence comes from nowhere')
  }
}

const sorted = (record: Readonly<Record<string, unknown>>): string =>
  JSON.stringify(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)))

/** @throws Error */
export function must(holds: boolean, promise: string): asserts holds {
  if (!holds) throw new Error(`Broken: ${promise}`)
}
