/**
 * The round machine: reduce(state, event) → {state, effects}. Pure: no clock, no socket, no database, no ids of its
 * own making. RULES.md has what it must do, by number; driver.ts feeds it and carries out the effects.
 */

import type { CodecName } from '../../shared/codec/codec.ts'
import { outerLearningRate } from '../../shared/diloco/outer.ts'
import { LIMITS } from '../../shared/protocol/limits.ts'
import type { DeltaView, RejectionReason, RunConfig, WaitReason } from '../../shared/protocol/run.ts'
import { Book } from './book.ts'
import { giveBack, splitRanges, take } from './pool.ts'
import { fragmentIndex, fragmentOf, freshMedian, leaseSteps, ratesOf } from './schedule.ts'
import type {
  AcceptedContribution,
  Checkpoint,
  FragmentBase,
  Machine,
  OpenLease,
  Pace,
  Untold,
} from './state.ts'

export type RoundEvent =
  | { type: 'start' | 'pause' | 'resume' | 'end' | 'tick' | 'restarted'; now: number }
  | { type: 'join'; volunteer: string; tokensPerSecond: number | null; now: number }
  | { type: 'leave' | 'disconnect' | 'remove'; volunteer: string; now: number }
  /** `id` names the lease if one is granted; `after` as in the protocol's LeaseRequest. */
  | {
      type: 'request'
      volunteer: string
      id: string
      after: string | null
      /** Tokens a second of whoever asks and of everybody who holds a lease, as they last told. */
      speeds: Readonly<Record<string, number>>
      now: number
    }
  | { type: 'release'; volunteer: string; lease: string; now: number }
  /** The bytes are stored and were found to hold what they should. */
  | { type: 'contribution'; volunteer: string; lease: string; content: Content; now: number }
  /** The mean of these contributions is stored and was found to hold what it should; `mean` is its hash. */
  | { type: 'group'; mean: string; members: readonly GroupMember[]; now: number }
  /** The bytes were found unfit; `hash` names them if they were stored. */
  | {
      type: 'unfit'
      volunteer: string
      lease: string
      reason: RejectionReason
      hash: string | null
      now: number
    }
  | { type: 'merged'; round: number; era: number; merged: MergedFragment; now: number }
  /** Of a round before the one under way. */
  | { type: 'roll-back'; to: Checkpoint; now: number }

export interface Content {
  readonly hash: string
  readonly bytes: number
  readonly steps: number
  readonly trainLoss: number
}

/** A contribution that came as its part of a group's mean. */
export interface GroupMember extends Content {
  readonly volunteer: string
  readonly lease: string
  /** With which it is in the mean. */
  readonly weight: number
}

export type LeaseEnd = 'accepted' | 'refused' | 'released' | 'orphaned' | 'removed' | 'closed' | 'rolled-back'

/** One outer step of one fragment. */
export interface Merge {
  readonly round: number
  readonly era: number
  readonly base: FragmentBase
  readonly codec: CodecName
  readonly downlink: RunConfig['downlink']
  /** Sorted by lease id. */
  readonly contributions: readonly {
    readonly lease: string
    readonly hash: string
    readonly weight: number
  }[]
  readonly learningRate: number
  readonly momentum: number
}

export interface MergedFragment {
  readonly base: FragmentBase
  /** Public blob: what volunteers add to the old weights to have the new. */
  readonly delta: { readonly hash: string; readonly bytes: number }
}

export interface ClosedRound {
  readonly round: number
  /** Index of the fragment that was brought together. */
  readonly fragment: number
  readonly replicas: number
  readonly tokens: number
  /** Inner steps of all contributions. */
  readonly steps: number
  readonly trainLoss: number
  readonly seconds: number
  readonly bytesUp: number
  readonly outerLearningRate: number
  readonly closedAt: number
  readonly before: FragmentBase
  readonly after: FragmentBase
  readonly delta: MergedFragment['delta']
  readonly leases: string[]
}

/** Rounds after `to` are no longer part of the run. */
export interface RolledBack {
  /** The round that was under way. */
  readonly from: number
  /** The round that is the last merged one now. */
  readonly to: number
  /** The era that begins. */
  readonly era: number
}

export type Effect =
  | { type: 'granted'; volunteer: string; id: string; lease: OpenLease }
  | { type: 'wait'; volunteer: string; reason: WaitReason }
  | { type: 'accepted'; lease: string; contribution: AcceptedContribution }
  | { type: 'refused'; lease: string; volunteer: string; reason: RejectionReason; hash: string | null }
  | { type: 'lease-ended'; lease: string; end: LeaseEnd }
  | { type: 'merge'; merge: Merge }
  | { type: 'round-closed'; closed: ClosedRound }
  | { type: 'rolled-back'; rolledBack: RolledBack }

export interface Reduction {
  readonly state: Machine
  readonly effects: Effect[]
}

/** What is a record of a round, and so no longer than the round's leases and contributions. */
type RecordName = 'leases' | 'accepted' | 'refusals' | 'replicas'

const COPIED = Symbol('copied')
/**
 * A state in the making. Its fields may be set; what they hold is shared with the state before and must not be changed, but
 * for the records that `own` gives.
 */
type Draft = Machine & { readonly [COPIED]: Set<RecordName> }

/** What an event leaves alone is the same object in both states. */
export function reduce(before: Machine, event: RoundEvent): Reduction {
  const draft: Draft = { ...before, [COPIED]: new Set() }
  const effects: Effect[] = []
  mindTheClock(draft, event.now)
  apply(draft, event, effects)
  advance(draft, event.now, effects)
  const { [COPIED]: _, ...state } = draft
  return { state, effects }
}

/** The record, to be written to: a copy from the first time on. What it holds is still shared. */
function own<Name extends RecordName>(state: Draft, name: Name): Machine[Name] {
  if (!state[COPIED].has(name)) {
    state[name] = { ...state[name] }
    state[COPIED].add(name)
  }
  return state[name]
}

/** Begins a record anew. */
function clear(state: Draft, name: RecordName): void {
  state[name] = {}
  state[COPIED].add(name)
}

/** When the machine next wants a `tick`; null when no time matters to it. */
export function nextWake(state: Machine): number | null {
  if (state.status !== 'running') return null
  const times = orphans(state).map(
    ([, { orphanedAt }]) => (orphanedAt ?? 0) + LIMITS.leaseGraceSeconds * 1_000,
  )
  if (state.deadlineAt !== null && state.phase === 'training') times.push(state.deadlineAt)
  return times.length === 0 ? null : Math.min(...times)
}

/** The merge that a restart has to begin again, if the state was saved in the middle of one. */
export function pendingMerge(state: Machine): Merge | null {
  return state.phase === 'merging' ? mergeOf(state) : null
}

/** Whether the machine waits for this merge. Not for one of an era that is over: its round is another now. */
export const isPending = (state: Machine, { round, era }: Pick<Merge, 'round' | 'era'>): boolean =>
  state.phase === 'merging' && round === state.round && era === state.era

/** Tokens of a contribution of so many steps. */
export const tokensOf = (state: Machine, steps: number): number =>
  steps * state.config.batchSize * state.sequenceLength

/** [R13] After the clock was set back nothing has begun in the future, and no deadline is further off than its length. */
function mindTheClock(state: Draft, now: number): void {
  const full = now + state.config.deadlineSeconds * 1_000
  if (state.openedAt !== null) state.openedAt = Math.min(state.openedAt, now)
  if (state.deadlineAt !== null) state.deadlineAt = Math.min(state.deadlineAt, full)
  for (const [id, { orphanedAt }] of orphans(state)) {
    if (orphanedAt !== null && orphanedAt > now) orphan(state, id, now)
  }
}

/** Since when its volunteer has been gone; null for not at all. */
function orphan(state: Draft, id: string, since: number | null): void {
  const lease = state.leases[id]
  if (lease && lease.orphanedAt !== since) own(state, 'leases')[id] = { ...lease, orphanedAt: since }
}

function apply(state: Draft, event: RoundEvent, effects: Effect[]): void {
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
      everybodyGone(state)
      for (const [id, lease] of Object.entries(state.leases)) orphan(state, id, lease.orphanedAt ?? event.now)
      return
    case 'join':
      arrive(state, event.volunteer)
      notePace(state, event.volunteer, event.tokensPerSecond)
      for (const [id] of leasesOf(state, event.volunteer)) orphan(state, id, null)
      return
    case 'leave':
      depart(state, event.volunteer)
      endLeasesOf(state, event.volunteer, 'released', effects)
      return
    case 'disconnect':
      depart(state, event.volunteer)
      for (const [id, lease] of leasesOf(state, event.volunteer))
        orphan(state, id, lease.orphanedAt ?? event.now)
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
    case 'group':
      contributeTogether(state, event, effects)
      return
    case 'unfit':
      refuse(state, event, effects)
      return
    case 'merged':
      merged(state, event, effects)
      return
    case 'roll-back':
      rollBack(state, event.to, effects)
      return
    default:
      event satisfies never
  }
}

/** What time and the last event make due: ended leases, opened, closed or extended rounds. */
function advance(state: Draft, now: number, effects: Effect[]): void {
  if (state.status !== 'running') return
  const isGone = ({ orphanedAt }: OpenLease) =>
    orphanedAt !== null && now >= orphanedAt + LIMITS.leaseGraceSeconds * 1_000
  const gone = orphans(state).filter(([, lease]) => isGone(lease))
  endLeases(state, gone, 'orphaned', effects) // L5
  const { replicas, strict, deadlineSeconds } = state.config
  const enough = strict ? replicas : state.config.quorum // R11
  if (state.phase === 'gathering' && state.present.size >= enough) open(state, now) // R1
  if (state.phase !== 'training') return
  const accepted = Object.keys(state.accepted).length
  const due = state.deadlineAt !== null && now >= state.deadlineAt
  if (accepted >= replicas || (accepted >= enough && (due || nobodyLeft(state)))) {
    close(state, effects) // R2, R3, R5
  } else if (due) {
    state.deadlineAt = now + deadlineSeconds * 1_000 // R4
    state.extensions += 1
    clear(state, 'refusals') // L6
  }
}

function open(state: Draft, now: number): void {
  state.phase = 'training'
  state.openedAt = now
  state.deadlineAt = now + state.config.deadlineSeconds * 1_000
}

/** Looks at no more volunteers than have contributed or were refused, and one more. */
function nobodyLeft(state: Machine): boolean {
  if (leasesIn(state, state.round).length > 0) return false
  const done = new Set(Object.values(state.accepted).map(({ volunteer }) => volunteer))
  for (const volunteer of state.present.keys()) {
    if (!done.has(volunteer) && !isSetAside(state, volunteer)) return false
  }
  return true
}

function close(state: Draft, effects: Effect[]): void {
  const missed = leasesIn(state, state.round)
  for (const [, { volunteer }] of missed) {
    const pace = state.paces.get(volunteer)
    if (pace) setPace(state, volunteer, { ...pace, missed: pace.missed + 1 })
  }
  endLeases(state, missed, 'closed', effects)
  state.phase = 'merging'
  state.deadlineAt = null
  effects.push({ type: 'merge', merge: mergeOf(state) })
}

function mergeOf(state: Machine): Merge {
  const { config, round } = state
  const contributions = acceptedInOrder(state)
  return {
    round,
    era: state.era,
    base: fragmentOf(state, round).base,
    codec: config.codec,
    downlink: config.downlink,
    contributions: mergedBlobs(contributions),
    learningRate: outerLearningRate(config.outerLearningRate, contributions.length),
    momentum: config.outerMomentum,
  }
}

/** [R6] [G2] Each by itself, but what came as one mean as one, under its first lease and with the weight of all. */
function mergedBlobs(contributions: readonly (AcceptedContribution & { lease: string })[]) {
  const blobs = new Map<string, { lease: string; hash: string; weight: number }>()
  for (const { lease, hash, mean, weight } of contributions) {
    const same = mean === null ? undefined : blobs.get(mean)
    if (same) same.weight += weight
    else blobs.set(mean ?? lease, { lease, hash: mean ?? hash, weight })
  }
  return [...blobs.values()]
}

const acceptedInOrder = (state: Machine) =>
  Object.entries(state.accepted)
    .map(([lease, contribution]) => ({ lease, ...contribution }))
    .sort((a, b) => (a.lease < b.lease ? -1 : 1)) // R6

function merged(state: Draft, event: Extract<RoundEvent, { type: 'merged' }>, effects: Effect[]): void {
  if (!isPending(state, event)) return
  const fragment = fragmentOf(state, state.round)
  const delta = { from: fragment.base.weights, codec: state.config.downlink, ...event.merged.delta }
  effects.push({ type: 'round-closed', closed: summarise(state, event) })
  const deltas = wayTo([...fragment.deltas, delta], 4 * fragment.base.parameters)
  const index = fragmentIndex(state.config, state.round)
  state.fragments = state.fragments.with(index, { base: event.merged.base, deltas })
  forgetTheGone(state)
  state.round += 1
  beginRound(state)
  if (state.round > state.config.rounds && state.status !== 'ended') state.status = 'completed' // R9
}

function beginRound(state: Draft): void {
  clear(state, 'accepted')
  clear(state, 'refusals')
  state.extensions = 0
  state.openedAt = null
  state.deadlineAt = null
  state.remaining = null
  state.phase = 'gathering'
}

/** The newest deltas, as many as are fewer bytes than the snapshot: whoever needs more takes that. */
function wayTo(deltas: readonly DeltaView[], snapshotBytes: number): DeltaView[] {
  const way = [...deltas]
  const bytes = () => way.reduce((sum, delta) => sum + delta.bytes, 0)
  while (bytes() >= snapshotBytes || way.length > LIMITS.deltas) way.shift()
  return way
}

/** What was remembered of volunteers who had no part in this round and are not here. */
function forgetTheGone(state: Draft): void {
  const parts = new Set<string>()
  for (const { volunteer } of Object.values(state.leases)) parts.add(volunteer)
  for (const { volunteer } of Object.values(state.accepted)) parts.add(volunteer)
  for (const volunteer of state.gone.keys()) {
    const isHere = state.present.has(volunteer)
    if (!isHere && parts.has(volunteer)) continue
    state.gone = state.gone.without(volunteer)
    if (!isHere) state.paces = state.paces.without(volunteer)
  }
  for (const [volunteer, { round }] of Object.entries(state.replicas)) {
    if (round < state.round) delete own(state, 'replicas')[volunteer] // L9
  }
}

function summarise(state: Machine, event: Extract<RoundEvent, { type: 'merged' }>): ClosedRound {
  const contributions = acceptedInOrder(state)
  const sum = (of: (contribution: AcceptedContribution) => number) =>
    contributions.reduce((total, contribution) => total + of(contribution), 0)
  const tokens = sum((c) => c.tokens)
  return {
    round: state.round,
    fragment: fragmentIndex(state.config, state.round),
    replicas: contributions.length,
    tokens,
    steps: sum((c) => c.steps),
    trainLoss: sum((c) => c.trainLoss * c.tokens) / tokens,
    seconds: (event.now - (state.openedAt ?? event.now)) / 1_000,
    bytesUp: sum((c) => c.bytes),
    outerLearningRate: outerLearningRate(state.config.outerLearningRate, contributions.length),
    closedAt: event.now,
    before: fragmentOf(state, state.round).base,
    after: event.merged.base,
    delta: event.merged.delta,
    leases: contributions.map((c) => c.lease),
  }
}

function pause(state: Draft, now: number): void {
  if (state.status !== 'running') return
  state.status = 'paused'
  state.remaining = state.deadlineAt === null ? null : Math.max(0, state.deadlineAt - now)
  state.deadlineAt = null // R8
}

function resume(state: Draft, now: number): void {
  if (state.status !== 'paused') return
  state.status = 'running'
  if (state.phase === 'training')
    state.deadlineAt = now + (state.remaining ?? state.config.deadlineSeconds * 1_000)
  state.remaining = null
}

function end(state: Draft, effects: Effect[]): void {
  if (state.status === 'completed' || state.status === 'ended') return
  endLeases(state, Object.entries(state.leases), 'closed', effects)
  state.status = 'ended'
  state.deadlineAt = null
}

/** [B1] [B2] [B3] */
function rollBack(state: Draft, to: Checkpoint, effects: Effect[]): void {
  if (!mayRollBack(state) || to.round >= state.round) return
  endLeases(state, Object.entries(state.leases), 'rolled-back', effects)
  const era = state.era + 1
  effects.push({ type: 'rolled-back', rolledBack: { from: state.round, to: to.round, era } })
  state.era = era
  state.round = to.round + 1
  state.fragments = to.fragments.map((base) => ({ base, deltas: [] }))
  state.pool = to.pool
  clear(state, 'replicas')
  beginRound(state)
}

export const mayRollBack = ({ status }: Machine): boolean => status === 'running' || status === 'paused'

function request(state: Draft, event: Extract<RoundEvent, { type: 'request' }>, effects: Effect[]): void {
  const { volunteer, id, now, after } = event
  notePace(state, volunteer, event.speeds[volunteer] ?? null)
  const round = goesOnAhead(state, volunteer, after) ? state.round + 1 : state.round
  const held = leasesOf(state, volunteer).find(([, lease]) => lease.round === round)
  if (held && state.status === 'running') endLease(state, held[0], 'released', effects) // L2
  const reason = refusalToLease(state, volunteer, round)
  if (reason !== null) {
    effects.push({ type: 'wait', volunteer, reason })
    return
  }
  for (const [one, speed] of Object.entries(event.speeds)) notePace(state, one, speed)
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
  }
  own(state, 'leases')[id] = lease
  effects.push({ type: 'granted', volunteer, id, lease })
}

/** [L10] Whether this round's lease is trained and only its bytes are still to come, or in. */
function goesOnAhead(state: Machine, volunteer: string, after: string | null): boolean {
  if (!state.config.overlap || after === null) return false
  const lease = state.leases[after]
  const trained = lease?.volunteer === volunteer && lease.round === state.round
  return trained || state.accepted[after]?.volunteer === volunteer
}

/** Why this volunteer gets no lease of that round now; null when it may have one. */
function refusalToLease(state: Machine, volunteer: string, round: number): WaitReason | null {
  if (state.status === 'ready') return 'not-started'
  if (state.status !== 'running') return state.status
  const ahead = round > state.round
  if (ahead && round > state.config.rounds) return 'contributed'
  if (!ahead && contributed(state, volunteer)) return 'contributed' // L3
  if (!ahead && state.phase === 'merging') return 'merging'
  if ((!ahead && state.phase === 'gathering') || !state.present.has(volunteer)) return 'gathering'
  if (isSetAside(state, volunteer)) return 'set-aside'
  const accepted = ahead ? 0 : Object.keys(state.accepted).length
  return leasesIn(state, round).length + accepted < state.config.replicas ? null : 'round-full' // L1
}

function contributed({ accepted }: Machine, volunteer: string): boolean {
  for (const id in accepted) if (accepted[id]?.volunteer === volunteer) return true
  return false
}

/** [L6] */
const isSetAside = ({ refusals }: Machine, volunteer: string): boolean =>
  (refusals[volunteer] ?? 0) >= LIMITS.refusalsPerRound

function notePace(state: Draft, volunteer: string, tokensPerSecond: number | null): void {
  if (tokensPerSecond === null || tokensPerSecond <= 0) return
  setPace(state, volunteer, { tokensPerSecond, missed: state.paces.get(volunteer)?.missed ?? 0 })
}

function setPace(state: Draft, volunteer: string, pace: Pace): void {
  const before = state.paces.get(volunteer)
  if (before?.tokensPerSecond === pace.tokensPerSecond && before.missed === pace.missed) return
  state.paces = state.paces.with(volunteer, pace)
  noteChange(state)
  if (!state.present.has(volunteer)) state.gone = state.gone.with(volunteer, true)
}

function noteChange(state: Draft): void {
  state.median = { ...state.median, changes: state.median.changes + 1 }
}

function contribute(
  state: Draft,
  event: Extract<RoundEvent, { type: 'contribution' }>,
  effects: Effect[],
): void {
  const { lease: id, volunteer, content } = event
  const lease = state.leases[id]
  if (state.accepted[id]?.hash === content.hash) return // the same bytes again: already counted
  const reason = leaseFault(state, lease, { volunteer, steps: content.steps })
  if (!lease || reason !== null) {
    refuse(state, { ...event, reason: reason ?? 'stale', hash: content.hash }, effects)
    return
  }
  accept(state, event, lease, null, effects)
}

/** [G1] All of them or none: the mean cannot be taken apart. */
function contributeTogether(
  state: Draft,
  { mean, members }: Extract<RoundEvent, { type: 'group' }>,
  effects: Effect[],
): void {
  const leases = members.map(({ lease }) => state.leases[lease])
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
  delete own(state, 'leases')[id]
  const tokens = tokensOf(state, content.steps)
  const weight = takeWeight(state, id, lease, content.steps)
  const contribution = { volunteer, tokens, weight, mean, ...content }
  own(state, 'accepted')[id] = contribution
  const pace = state.paces.get(volunteer)
  if (pace) setPace(state, volunteer, { ...pace, missed: 0 })
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
  own(state, 'replicas')[volunteer] = { lease: id, round, untold }
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
  const replica = replicas[volunteer]
  if (replica && replica.lease === after && replica.round === round - 1) return replica.untold
  return Array.from({ length: config.fragments }, () => ({ tokens: 0, rates: 0 }))
}

/** Faults of the way rather than of the work: the same bytes may be sent again. */
const TRANSPORT_FAULTS: readonly RejectionReason[] = ['wrong-length', 'hash-mismatch', 'early']

function refuse(
  state: Draft,
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
  own(state, 'refusals')[volunteer] = (state.refusals[volunteer] ?? 0) + 1
  endLease(state, lease, 'refused', effects)
}

function arrive(state: Draft, volunteer: string): void {
  if (state.present.has(volunteer)) return
  state.present = state.present.with(volunteer, true)
  noteChange(state)
}

function depart(state: Draft, volunteer: string): void {
  if (!state.present.has(volunteer)) return
  state.present = state.present.without(volunteer)
  state.gone = state.gone.with(volunteer, true)
  noteChange(state)
}

function everybodyGone(state: Draft): void {
  state.present = Book.of([])
  state.gone = Book.of([...state.paces.keys()].map((volunteer) => [volunteer, true] as const))
  noteChange(state)
}

/** The open leases of a round: of this one, or of the next. */
const leasesIn = (state: Machine, round: number) => leasesWhere(state, (lease) => lease.round === round)

const leasesOf = (state: Machine, volunteer: string) =>
  leasesWhere(state, (lease) => lease.volunteer === volunteer)

/** Those whose volunteers are gone. */
const orphans = (state: Machine) => leasesWhere(state, ({ orphanedAt }) => orphanedAt !== null)

/** Every event asks several times, and mostly for few of them: a list of all entries would cost more than the rest of it. */
function leasesWhere({ leases }: Machine, wanted: (lease: OpenLease) => boolean): [string, OpenLease][] {
  const found: [string, OpenLease][] = []
  for (const id in leases) {
    const lease = leases[id]
    if (lease && wanted(lease)) found.push([id, lease])
  }
  return found
}

function endLeasesOf(state: Draft, volunteer: string, how: LeaseEnd, effects: Effect[]): void {
  endLeases(state, leasesOf(state, volunteer), how, effects)
}

function endLease(state: Draft, id: string, how: LeaseEnd, effects: Effect[]): void {
  const lease = state.leases[id]
  if (lease) endLeases(state, [[id, lease]], how, effects)
}

/** Ends leases without a contribution: their data goes back. */
function endLeases(
  state: Draft,
  leases: readonly (readonly [string, OpenLease])[],
  how: LeaseEnd,
  effects: Effect[],
): void {
  if (leases.length === 0) return
  state.pool = giveBack(
    state.pool,
    leases.flatMap(([, { ranges }]) => ranges),
  )
  for (const [id] of leases) {
    delete own(state, 'leases')[id]
    effects.push({ type: 'lease-ended', lease: id, end: how })
  }
}
