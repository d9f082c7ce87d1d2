/** A round from its opening to its merge, and the way back to an earlier one. */
import { outerLearningRate } from '../../shared/diloco/outer.ts'
import { LIMITS } from '../../shared/protocol/limits.ts'
import type { DeltaView } from '../../shared/protocol/run.ts'
import { Book } from './book.ts'
import { forgetTheGone, lookAgain, noteMissed } from './crowd.ts'
import type { ClosedRound, Effect, EventOf, Merge } from './events.ts'
import { endLeases } from './granting.ts'
import { fragmentIndex, fragmentOf } from './schedule.ts'
import {
  type AcceptedContribution,
  type Checkpoint,
  type Draft,
  type Machine,
  NOBODY,
  type Replica,
} from './state.ts'

const NO_CONTRIBUTIONS = Book.of<AcceptedContribution>([])
const NO_REFUSALS = Book.of<number>([])
const NO_REPLICAS = Book.of<Replica>([])

export function open(state: Draft, now: number): void {
  state.phase = 'training'
  state.openedAt = now
  state.deadlineAt = now + state.config.deadlineSeconds * 1_000
}

/** [R4] */
export function putOff(state: Draft, now: number): void {
  state.deadlineAt = now + state.config.deadlineSeconds * 1_000
  state.extensions += 1
  state.leases = state.leases.lateOf(state.round) // L1
  const refused = [...state.refusals.keys()]
  state.refusals = NO_REFUSALS // L6
  for (const volunteer of refused) lookAgain(state, volunteer)
}

export function close(state: Draft, effects: Effect[]): void {
  const missed = state.leases.idsOf(state.round)
  for (const id of missed) noteMissed(state, state.leases.get(id)?.volunteer ?? '', true)
  endLeases(state, missed, 'closed', effects)
  state.phase = 'merging'
  state.deadlineAt = null
  effects.push({ type: 'merge', merge: mergeOf(state) })
}

/** The merge that a restart has to begin again, if the state was saved in the middle of one. */
export function pendingMerge(state: Machine): Merge | null {
  return state.phase === 'merging' ? mergeOf(state) : null
}

/** Whether the machine waits for this merge. Not for one of an era that is over: its round is another now. */
export const isPending = (state: Machine, { round, era }: Pick<Merge, 'round' | 'era'>): boolean =>
  state.phase === 'merging' && round === state.round && era === state.era

export function mergeOf(state: Machine): Merge {
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
  [...state.accepted.entries()]
    .map(([lease, contribution]) => ({ lease, ...contribution }))
    .sort((a, b) => (a.lease < b.lease ? -1 : 1)) // R6

export function merged(state: Draft, event: EventOf<'merged'>, effects: Effect[]): void {
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
  state.accepted = NO_CONTRIBUTIONS
  state.contributed = NOBODY
  state.refusals = NO_REFUSALS
  state.eligible = state.present
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

function summarise(state: Machine, event: EventOf<'merged'>): ClosedRound {
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

/** [B1] [B2] [B3] */
export function rollBack(state: Draft, to: Checkpoint, effects: Effect[]): void {
  if (!mayRollBack(state) || to.round >= state.round) return
  endLeases(state, [...state.leases.byId.keys()], 'rolled-back', effects)
  const era = state.era + 1
  effects.push({ type: 'rolled-back', rolledBack: { from: state.round, to: to.round, era } })
  state.era = era
  state.round = to.round + 1
  state.fragments = to.fragments.map((base) => ({ base, deltas: [] }))
  state.pool = to.pool
  state.replicas = NO_REPLICAS
  beginRound(state)
}

export const mayRollBack = ({ status }: Machine): boolean => status === 'running' || status === 'paused'
