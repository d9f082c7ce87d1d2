/**
 * The round machine: reduce(state, event) → {state, effects}. Pure: no clock, no socket, no database, no ids of its
 * own making. RULES.md has what it must do, by number; driver.ts feeds it and carries out the effects. Here is what happens
 * when; how is in granting.ts, contributions.ts, closing.ts and crowd.ts.
 */
import { LIMITS } from '../../shared/protocol/limits.ts'
import { close, merged, open, putOff, rollBack } from './closing.ts'
import { contribute, contributeTogether, refuse } from './contributions.ts'
import { arrive, depart, everybodyGone, notePace } from './crowd.ts'
import type { Effect, Reduction, RoundEvent } from './events.ts'
import { endLeases, endLeasesOf, request } from './granting.ts'
import type { Draft, Machine, OpenLease } from './state.ts'

const GRACE_MS = LIMITS.leaseGraceSeconds * 1_000

/** What an event leaves alone is the same object in both states. */
export function reduce(before: Machine, event: RoundEvent): Reduction {
  const state: Draft = { ...before }
  const effects: Effect[] = []
  mindTheClock(state, event.now)
  apply(state, event, effects)
  advance(state, event.now, effects)
  return { state, effects }
}

/** When the machine next wants a `tick`; null when no time matters to it. */
export function nextWake({ status, phase, deadlineAt, leases }: Machine): number | null {
  if (status !== 'running') return null
  const times = leases.longestGone === null ? [] : [leases.longestGone + GRACE_MS]
  if (deadlineAt !== null && phase === 'training') times.push(deadlineAt)
  return times.length === 0 ? null : Math.min(...times)
}

/** [R13] After the clock was set back nothing has begun in the future, and no deadline is further off than its length. */
function mindTheClock(state: Draft, now: number): void {
  const full = now + state.config.deadlineSeconds * 1_000
  if (state.openedAt !== null) state.openedAt = Math.min(state.openedAt, now)
  if (state.deadlineAt !== null) state.deadlineAt = Math.min(state.deadlineAt, full)
  state.leases = state.leases.goneNoLaterThan(now)
}

/** Leases whose volunteers are gone, if not since before then since a time; null for not any more. */
function orphan(state: Draft, leases: Iterable<readonly [string, OpenLease]>, since: number | null): void {
  for (const [id, { orphanedAt }] of leases)
    state.leases = state.leases.orphan(id, since === null ? null : (orphanedAt ?? since))
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
      orphan(state, state.leases.byId.entries(), event.now)
      return
    case 'join':
      arrive(state, event.volunteer)
      notePace(state, event.volunteer, event.tokensPerSecond)
      orphan(state, state.leases.of(event.volunteer), null)
      return
    case 'leave':
      depart(state, event.volunteer)
      endLeasesOf(state, event.volunteer, 'released', effects)
      return
    case 'disconnect':
      depart(state, event.volunteer)
      orphan(state, state.leases.of(event.volunteer), event.now)
      return
    case 'remove':
      depart(state, event.volunteer)
      endLeasesOf(state, event.volunteer, 'removed', effects)
      return
    case 'request':
      request(state, event, effects)
      return
    case 'release':
      if (state.leases.get(event.lease)?.volunteer === event.volunteer) {
        endLeases(state, [event.lease], 'released', effects)
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
  endLeases(state, state.leases.goneSince(now - GRACE_MS), 'orphaned', effects) // L5
  const { replicas, strict, quorum } = state.config
  const enough = strict ? replicas : quorum // R11
  if (state.phase === 'gathering' && state.present.size >= enough) open(state, now) // R1
  if (state.phase !== 'training') return
  const accepted = state.accepted.size
  const due = state.deadlineAt !== null && now >= state.deadlineAt
  if (accepted >= replicas || (accepted >= enough && (due || nobodyLeft(state)))) {
    close(state, effects) // R2, R3, R5
  } else if (due) {
    putOff(state, now) // R4
  }
}

/** [R5] */
const nobodyLeft = ({ leases, round, eligible }: Machine): boolean =>
  leases.countOf(round) === 0 && eligible.size === 0

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
  endLeases(state, [...state.leases.byId.keys()], 'closed', effects)
  state.status = 'ended'
  state.deadlineAt = null
}
