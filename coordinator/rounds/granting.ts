/** Leases from the request to their end, unless that is a contribution's (contributions.ts). */
import type { WaitReason } from '../../shared/protocol/run.ts'
import { notePace } from './crowd.ts'
import type { Effect, EventOf, LeaseEnd } from './events.ts'
import { giveBack, take } from './pool.ts'
import { expectedEnd, freshMedian, leaseSteps } from './schedule.ts'
import { type Draft, isSetAside, type Machine, type OpenLease } from './state.ts'

export function request(state: Draft, event: EventOf<'request'>, effects: Effect[]): void {
  const { volunteer, id, now, after } = event
  notePace(state, volunteer, event.tokensPerSecond)
  const round = goesOnAhead(state, volunteer, after) ? state.round + 1 : state.round
  const lost = state.leases.of(volunteer).filter(([, lease]) => lease.round >= round) // L2
  endLeases(
    state,
    lost.map(([id]) => id),
    'released',
    effects,
  )
  const reason = refusalToLease(state, volunteer, round)
  if (reason !== null) {
    effects.push({ type: 'wait', volunteer, reason })
    return
  }
  for (const [one, speed] of event.told.entries())
    if (one !== volunteer && state.leases.holds(one)) notePace(state, one, speed) // others train nothing that it could be of
  state.median = freshMedian(state)
  const steps = leaseSteps(state, { volunteer, round, now }) // L8
  const taken = take(state.pool, steps * state.config.batchSize, state.sequencesPerEpoch) // L4, D3
  state.pool = taken.pool
  const lease: OpenLease = {
    volunteer,
    round,
    after,
    steps,
    ranges: taken.ranges,
    issuedAt: now,
    orphanedAt: null,
    late: false,
  }
  state.leases = state.leases.with(id, lease, expectedEnd(state, lease))
  effects.push({ type: 'granted', volunteer, id, lease })
}

/** [L10] Whether this round's lease is trained and only its bytes are still to come, or in. */
function goesOnAhead(state: Machine, volunteer: string, after: string | null): boolean {
  if (!state.config.overlap || after === null) return false
  const lease = state.leases.get(after)
  const trained = lease?.volunteer === volunteer && lease.round === state.round
  return trained || state.accepted.get(after)?.volunteer === volunteer
}

/** Why this volunteer gets no lease of that round now; null when it may have one. */
export function refusalToLease(state: Machine, volunteer: string, round: number): WaitReason | null {
  if (state.status === 'ready') return 'not-started'
  if (state.status !== 'running') return state.status
  const ahead = round > state.round
  if (ahead && round > state.config.rounds) return 'contributed'
  if (!ahead && state.contributed.has(volunteer)) return 'contributed' // L3
  if (!ahead && state.phase === 'merging') return 'merging'
  if ((!ahead && state.phase === 'gathering') || !state.present.has(volunteer)) return 'gathering'
  if (isSetAside(state, volunteer)) return 'set-aside'
  return hasRoom(state, round) ? null : 'round-full' // L1
}

/** [L1] Leases that a round, this one or the next, may still have. */
export const placesIn = ({ leases, accepted, config, round }: Machine, of: number): number =>
  config.replicas - leases.countOf(of) + (of === round ? leases.late - accepted.size : 0)

/** [L1] */
export const hasRoom = (state: Machine, of: number): boolean => placesIn(state, of) > 0

/** Ends open leases without a contribution: their data goes back. */
export function endLeases(state: Draft, ids: Iterable<string>, end: LeaseEnd, effects: Effect[]): void {
  for (const lease of ids) {
    state.pool = giveBack(state.pool, state.leases.get(lease)?.ranges ?? [])
    state.leases = state.leases.without(lease)
    effects.push({ type: 'lease-ended', lease, end })
  }
}

export function endLeasesOf(state: Draft, volunteer: string, end: LeaseEnd, effects: Effect[]): void {
  const ids = state.leases.of(volunteer).map(([id]) => id)
  endLeases(state, ids, end, effects)
}
