/**
 * The round machine: reduce(state, event) → {state, effects}. Pure: no clock, no socket, no database, no ids of its
 * own making. RULES.md has what it must do, by number; driver.ts feeds it and carries out the effects.
 */
import { outerLearningRate } from '../../shared/diloco/outer.ts'
import { LIMITS } from '../../shared/protocol/limits.ts'
import type { DataRange, RejectionReason, WaitReason } from '../../shared/protocol/run.ts'
import { giveBack, splitRanges, take } from './pool.ts'
import type { AcceptedContribution, Machine, OpenLease } from './state.ts'

export type RoundEvent =
  | { type: 'start' | 'pause' | 'resume' | 'end' | 'tick' | 'restarted'; now: number }
  | { type: 'join' | 'leave' | 'disconnect' | 'remove'; volunteer: string; now: number }
  /** `id` names the lease if one is granted. */
  | { type: 'request'; volunteer: string; id: string; now: number }
  | { type: 'release'; volunteer: string; lease: string; now: number }
  /** The bytes are stored and were found to hold what they should. */
  | { type: 'contribution'; volunteer: string; lease: string; content: Content; now: number }
  /** The bytes were found unfit; `hash` names them if they were stored. */
  | {
      type: 'unfit'
      volunteer: string
      lease: string
      reason: RejectionReason
      hash: string | null
      now: number
    }
  | { type: 'merged'; round: number; base: Machine['base']; now: number }

export interface Content {
  readonly hash: string
  readonly bytes: number
  readonly steps: number
  readonly trainLoss: number
}

export type LeaseEnd = 'accepted' | 'refused' | 'released' | 'orphaned' | 'removed' | 'closed'

export interface Merge {
  readonly round: number
  readonly base: Machine['base']
  /** Sorted by lease id. */
  readonly contributions: (AcceptedContribution & { readonly lease: string })[]
  readonly learningRate: number
  readonly momentum: number
}

export interface ClosedRound {
  readonly round: number
  readonly replicas: number
  readonly tokens: number
  readonly trainLoss: number
  readonly seconds: number
  readonly bytesUp: number
  readonly outerLearningRate: number
  readonly closedAt: number
  readonly before: Machine['base']
  readonly after: Machine['base']
  readonly leases: string[]
}

export type Effect =
  | { type: 'granted'; volunteer: string; id: string; lease: OpenLease }
  | { type: 'wait'; volunteer: string; reason: WaitReason }
  | { type: 'accepted'; lease: string; contribution: AcceptedContribution }
  | { type: 'refused'; lease: string; volunteer: string; reason: RejectionReason; hash: string | null }
  | { type: 'lease-ended'; lease: string; end: LeaseEnd }
  | { type: 'merge'; merge: Merge }
  | { type: 'round-closed'; closed: ClosedRound }

export interface Reduction {
  readonly state: Machine
  readonly effects: Effect[]
}

export function reduce(before: Machine, event: RoundEvent): Reduction {
  const state = structuredClone(before)
  const effects: Effect[] = []
  apply(state, event, effects)
  advance(state, event.now, effects)
  return { state, effects }
}

/** When the machine next wants a `tick`; null when no time matters to it. */
export function nextWake(state: Machine): number | null {
  if (state.status !== 'running') return null
  const times = Object.values(state.leases).flatMap((lease) =>
    lease.orphanedAt === null ? [] : [lease.orphanedAt + LIMITS.leaseGraceSeconds * 1_000],
  )
  if (state.deadlineAt !== null && state.phase === 'training') times.push(state.deadlineAt)
  return times.length === 0 ? null : Math.min(...times)
}

/** The merge that a restart has to begin again, if the state was saved in the middle of one. */
export function pendingMerge(state: Machine): Merge | null {
  return state.phase === 'merging' ? mergeOf(state) : null
}

/** Tokens of a contribution of so many steps. */
export const tokensOf = (state: Machine, steps: number): number =>
  steps * state.config.batchSize * state.sequenceLength

function apply(state: Machine, event: RoundEvent, effects: Effect[]): void {
  switch (event.type) {
    case 'start':
      if (state.status === 'ready') state.status = 'running'
      return
    case 'pause':
      pause(state, event.now)
      return
    case 'resume':
      resume(state, event.now)
      return
    case 'end':
      end(state, effects)
      return
    case 'tick':
      return
    case 'restarted':
      state.present = []
      for (const lease of Object.values(state.leases)) lease.orphanedAt ??= event.now
      return
    case 'join':
      if (!state.present.includes(event.volunteer)) state.present.push(event.volunteer)
      for (const [, lease] of leasesOf(state, event.volunteer)) lease.orphanedAt = null
      return
    case 'leave':
      depart(state, event.volunteer)
      endLeasesOf(state, event.volunteer, 'released', effects)
      return
    case 'disconnect':
      depart(state, event.volunteer)
      for (const [, lease] of leasesOf(state, event.volunteer)) lease.orphanedAt ??= event.now
      return
    case 'remove':
      depart(state, event.volunteer)
      endLeasesOf(state, event.volunteer, 'removed', effects)
      return
    case 'request':
      request(state, event, effects)
      return
    case 'release':
      if (state.leases[event.lease]?.volunteer === event.volunteer) {
        endLease(state, event.lease, 'released', effects)
      }
      return
    case 'contribution':
      contribute(state, event, effects)
      return
    case 'unfit':
      refuse(state, event, effects)
      return
    case 'merged':
      merged(state, event, effects)
      return
    default:
      event satisfies never
  }
}

/** What time and the last event make due: ended leases, opened, closed or extended rounds. */
function advance(state: Machine, now: number, effects: Effect[]): void {
  if (state.status !== 'running') return
  for (const [id, lease] of Object.entries(state.leases)) {
    const gone = lease.orphanedAt !== null && now >= lease.orphanedAt + LIMITS.leaseGraceSeconds * 1_000
    if (gone) endLease(state, id, 'orphaned', effects) // L5
  }
  if (state.phase === 'gathering' && state.present.length >= state.config.quorum) open(state, now) // R1
  if (state.phase !== 'training') return
  const accepted = Object.keys(state.accepted).length
  const { replicas, quorum, deadlineSeconds } = state.config
  const due = state.deadlineAt !== null && now >= state.deadlineAt
  if (accepted >= replicas || (accepted >= quorum && (due || nobodyLeft(state)))) {
    close(state, effects) // R2, R3, R5
  } else if (due) {
    state.deadlineAt = now + deadlineSeconds * 1_000 // R4
    state.extensions += 1
  }
}

function open(state: Machine, now: number): void {
  state.phase = 'training'
  state.openedAt = now
  state.deadlineAt = now + state.config.deadlineSeconds * 1_000
}

function nobodyLeft(state: Machine): boolean {
  return (
    Object.keys(state.leases).length === 0 && !state.present.some((v) => refusalToLease(state, v) === null)
  )
}

function close(state: Machine, effects: Effect[]): void {
  for (const id of Object.keys(state.leases)) endLease(state, id, 'closed', effects)
  state.phase = 'merging'
  state.deadlineAt = null
  effects.push({ type: 'merge', merge: mergeOf(state) })
}

function mergeOf(state: Machine): Merge {
  const contributions = acceptedInOrder(state)
  return {
    round: state.round,
    base: state.base,
    contributions,
    learningRate: outerLearningRate(state.config.outerLearningRate, contributions.length),
    momentum: state.config.outerMomentum,
  }
}

const acceptedInOrder = (state: Machine) =>
  Object.entries(state.accepted)
    .map(([lease, contribution]) => ({ lease, ...contribution }))
    .sort((a, b) => (a.lease < b.lease ? -1 : 1)) // R6

function merged(state: Machine, event: Extract<RoundEvent, { type: 'merged' }>, effects: Effect[]): void {
  if (state.phase !== 'merging' || event.round !== state.round) return
  effects.push({ type: 'round-closed', closed: summarise(state, event) })
  state.base = event.base
  state.accepted = {}
  state.refusals = {}
  state.extensions = 0
  state.openedAt = null
  state.remaining = null
  state.phase = 'gathering'
  state.round += 1
  if (state.round > state.config.rounds && state.status !== 'ended') state.status = 'completed' // R9
}

function summarise(state: Machine, event: Extract<RoundEvent, { type: 'merged' }>): ClosedRound {
  const contributions = acceptedInOrder(state)
  const sum = (of: (contribution: AcceptedContribution) => number) =>
    contributions.reduce((total, contribution) => total + of(contribution), 0)
  const tokens = sum((c) => c.tokens)
  return {
    round: state.round,
    replicas: contributions.length,
    tokens,
    trainLoss: sum((c) => c.trainLoss * c.tokens) / tokens,
    seconds: (event.now - (state.openedAt ?? event.now)) / 1_000,
    bytesUp: sum((c) => c.bytes),
    outerLearningRate: outerLearningRate(state.config.outerLearningRate, contributions.length),
    closedAt: event.now,
    before: state.base,
    after: event.base,
    leases: contributions.map((c) => c.lease),
  }
}

function pause(state: Machine, now: number): void {
  if (state.status !== 'running') return
  state.status = 'paused'
  state.remaining = state.deadlineAt === null ? null : Math.max(0, state.deadlineAt - now)
  state.deadlineAt = null // R8
}

function resume(state: Machine, now: number): void {
  if (state.status !== 'paused') return
  state.status = 'running'
  if (state.phase === 'training')
    state.deadlineAt = now + (state.remaining ?? state.config.deadlineSeconds * 1_000)
  state.remaining = null
}

function end(state: Machine, effects: Effect[]): void {
  if (state.status === 'completed' || state.status === 'ended') return
  for (const id of Object.keys(state.leases)) endLease(state, id, 'closed', effects)
  state.status = 'ended'
  state.deadlineAt = null
}

function request(state: Machine, event: Extract<RoundEvent, { type: 'request' }>, effects: Effect[]): void {
  const { volunteer, id, now } = event
  const held = leasesOf(state, volunteer)[0]
  if (held && state.status === 'running') {
    effects.push({ type: 'granted', volunteer, id: held[0], lease: held[1] }) // L2
    return
  }
  const reason = refusalToLease(state, volunteer)
  if (reason !== null) {
    effects.push({ type: 'wait', volunteer, reason })
    return
  }
  const { innerSteps, batchSize } = state.config
  const taken = take(state.pool, innerSteps * batchSize, state.sequencesPerEpoch) // L4, D3
  state.pool = taken.pool
  const lease: OpenLease = {
    volunteer,
    steps: innerSteps,
    ranges: taken.ranges,
    issuedAt: now,
    orphanedAt: null,
  }
  state.leases[id] = lease
  effects.push({ type: 'granted', volunteer, id, lease })
}

/** Why this volunteer gets no lease now; null when it may have one. */
function refusalToLease(state: Machine, volunteer: string): WaitReason | null {
  if (state.status === 'ready') return 'not-started'
  if (state.status !== 'running') return state.status
  if (Object.values(state.accepted).some((c) => c.volunteer === volunteer)) return 'contributed' // L3
  if (state.phase === 'merging') return 'merging'
  if (state.phase === 'gathering' || !state.present.includes(volunteer)) return 'gathering'
  if ((state.refusals[volunteer] ?? 0) >= LIMITS.refusalsPerRound) return 'set-aside' // L6
  const taken = Object.keys(state.leases).length + Object.keys(state.accepted).length
  return taken < state.config.replicas ? null : 'round-full' // L1
}

function contribute(
  state: Machine,
  event: Extract<RoundEvent, { type: 'contribution' }>,
  effects: Effect[],
): void {
  const { lease: id, volunteer, content } = event
  const lease = state.leases[id]
  if (state.accepted[id]?.hash === content.hash) return // the same bytes again: already counted
  if (!lease) {
    effects.push({ type: 'refused', lease: id, volunteer, reason: 'stale', hash: content.hash }) // R7
    return
  }
  if (content.steps > lease.steps) {
    refuse(state, { ...event, reason: 'bad-steps', hash: content.hash }, effects)
    return
  }
  const [, unused] = splitRanges(lease.ranges, content.steps * state.config.batchSize) // D2
  state.pool = giveBack(state.pool, unused)
  delete state.leases[id]
  const contribution = { volunteer, tokens: tokensOf(state, content.steps), ...content }
  state.accepted[id] = contribution
  effects.push(
    { type: 'accepted', lease: id, contribution },
    { type: 'lease-ended', lease: id, end: 'accepted' },
  )
}

/** Faults of the way rather than of the work: the same bytes may be sent again. */
const TRANSPORT_FAULTS: readonly RejectionReason[] = ['wrong-length', 'hash-mismatch']

function refuse(
  state: Machine,
  {
    lease,
    volunteer,
    reason,
    hash,
  }: Pick<Extract<RoundEvent, { type: 'unfit' }>, 'lease' | 'volunteer' | 'reason' | 'hash'>,
  effects: Effect[],
): void {
  effects.push({ type: 'refused', lease, volunteer, reason, hash })
  if (TRANSPORT_FAULTS.includes(reason) || state.leases[lease]?.volunteer !== volunteer) return
  state.refusals[volunteer] = (state.refusals[volunteer] ?? 0) + 1
  endLease(state, lease, 'refused', effects)
}

function depart(state: Machine, volunteer: string): void {
  state.present = state.present.filter((present) => present !== volunteer)
}

const leasesOf = (state: Machine, volunteer: string): [string, OpenLease][] =>
  Object.entries(state.leases).filter(([, lease]) => lease.volunteer === volunteer)

function endLeasesOf(state: Machine, volunteer: string, how: LeaseEnd, effects: Effect[]): void {
  for (const [id] of leasesOf(state, volunteer)) endLease(state, id, how, effects)
}

/** Ends a lease without a contribution: its data goes back. */
function endLease(state: Machine, id: string, how: LeaseEnd, effects: Effect[]): void {
  const ranges: DataRange[] = state.leases[id]?.ranges ?? []
  state.pool = giveBack(state.pool, ranges)
  delete state.leases[id]
  effects.push({ type: 'lease-ended', lease: id, end: how })
}
