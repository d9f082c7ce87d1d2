/** What becomes of contributions, and what they weigh. */
import type { RejectionReason } from '../../shared/protocol/run.ts'
import { lookAgain, noteMissed } from './crowd.ts'
import type { Content, Effect, EventOf } from './events.ts'
import { endLeases } from './granting.ts'
import { giveBack, splitRanges } from './pool.ts'
import { fragmentIndex, ratesOf } from './schedule.ts'
import type { Draft, Machine, OpenLease, Untold } from './state.ts'

export function contribute(state: Draft, event: EventOf<'contribution'>, effects: Effect[]): void {
  const { lease: id, volunteer, content } = event
  const lease = state.leases.get(id)
  if (state.accepted.get(id)?.hash === content.hash) return // the same bytes again: already counted
  const reason = leaseFault(state, lease, { volunteer, steps: content.steps })
  if (!lease || reason !== null) {
    refuse(state, { ...event, reason: reason ?? 'stale', hash: content.hash }, effects)
    return
  }
  accept(state, event, lease, null, effects)
}

/** [G1] All of them or none: the mean cannot be taken apart. */
export function contributeTogether(
  state: Draft,
  { mean, members }: EventOf<'group'>,
  effects: Effect[],
): void {
  const leases = members.map(({ lease }) => state.leases.get(lease))
  const sound = members.every((member, i) => {
    const lease = leases[i]
    if (!lease || leaseFault(state, lease, member) !== null) return false
    return weightOf(state, lease, member.steps) === member.weight
  })
  if (!sound || new Set(members.map(({ lease }) => lease)).size < members.length) return
  for (const [i, { volunteer, lease, weight: _, ...content }] of members.entries()) {
    accept(state, { volunteer, lease, content }, leases[i] as OpenLease, mean, effects) // all are there
  }
}

function accept(
  state: Draft,
  { volunteer, lease: id, content }: { volunteer: string; lease: string; content: Content },
  lease: OpenLease,
  mean: string | null,
  effects: Effect[],
): void {
  const [, unused] = splitRanges(lease.ranges, content.steps * state.config.batchSize) // D2
  state.pool = giveBack(state.pool, unused)
  state.leases = state.leases.without(id)
  const tokens = tokensOf(state, content.steps)
  const weight = takeWeight(state, id, lease, content.steps)
  const contribution = { volunteer, tokens, weight, mean, ...content }
  state.accepted = state.accepted.with(id, contribution)
  state.contributed = state.contributed.with(volunteer, true)
  lookAgain(state, volunteer)
  noteMissed(state, volunteer, false)
  effects.push(
    { type: 'accepted', lease: id, contribution },
    { type: 'lease-ended', lease: id, end: 'accepted' },
  )
}

/** What a lease itself has against a contribution, whatever its bytes; null for nothing. */
export function leaseFault(
  state: Machine,
  lease: OpenLease | undefined,
  { volunteer, steps }: { volunteer: string; steps: number },
): RejectionReason | null {
  if (!lease) return 'stale' // R7
  if (lease.volunteer !== volunteer) return 'not-your-lease'
  if (lease.round > state.round) return 'early' // L10
  return steps > lease.steps ? 'bad-steps' : null
}

/** Tokens of a contribution of so many steps. */
export const tokensOf = (state: Machine, steps: number): number =>
  steps * state.config.batchSize * state.sequenceLength

/** [L9] The weight that a contribution of so many steps of this lease would have. */
export function weightOf(state: Machine, lease: OpenLease, steps: number): number {
  const before = untoldOf(state, lease)[fragmentIndex(state.config, lease.round)]?.tokens ?? 0
  return before + tokensOf(state, steps)
}

/** [L9] The contribution's weight; what it has trained counts for the other fragments later. */
function takeWeight(state: Draft, id: string, lease: OpenLease, steps: number): number {
  const { volunteer, round } = lease
  const tokens = tokensOf(state, steps)
  const rates = ratesOf(state.config, round, steps)
  const untold = untoldOf(state, lease).map((u) => ({ tokens: u.tokens + tokens, rates: u.rates + rates }))
  const index = fragmentIndex(state.config, round)
  const weight = untold[index]?.tokens ?? tokens
  untold[index] = { tokens: 0, rates: 0 }
  state.replicas = state.replicas.with(volunteer, { lease: id, round, untold })
  return weight
}

/**
 * [L9] By fragment: what the replica of this lease had trained on top of the global weights when the lease began. Nothing,
 * unless it went on from an accepted contribution to the round before.
 */
export function untoldOf(
  { replicas, config }: Machine,
  { volunteer, round, after }: Pick<OpenLease, 'volunteer' | 'round' | 'after'>,
): Untold[] {
  const replica = replicas.get(volunteer)
  if (replica && replica.lease === after && replica.round === round - 1) return replica.untold
  return Array.from({ length: config.fragments }, () => ({ tokens: 0, rates: 0 }))
}

/** Faults of the way rather than of the work: the same bytes may be sent again. */
const TRANSPORT_FAULTS: readonly RejectionReason[] = ['wrong-length', 'hash-mismatch', 'early']

export function refuse(
  state: Draft,
  { lease, volunteer, reason, hash }: Pick<EventOf<'unfit'>, 'lease' | 'volunteer' | 'reason' | 'hash'>,
  effects: Effect[],
): void {
  effects.push({ type: 'refused', lease, volunteer, reason, hash })
  if (TRANSPORT_FAULTS.includes(reason) || state.leases.get(lease)?.volunteer !== volunteer) return
  state.refusals = state.refusals.with(volunteer, (state.refusals.get(volunteer) ?? 0) + 1)
  lookAgain(state, volunteer)
  endLeases(state, [lease], 'refused', effects)
}
