/** Who is there, how fast they are, and what may be forgotten of them. */
import { Book } from './book.ts'
import { expectedEnd } from './schedule.ts'
import { type Draft, isEligible, NOBODY, type Pace } from './state.ts'

export function arrive(state: Draft, volunteer: string): void {
  if (state.present.has(volunteer)) return
  state.present = state.present.with(volunteer, true)
  noteChange(state)
  lookAgain(state, volunteer)
}

export function depart(state: Draft, volunteer: string): void {
  if (!state.present.has(volunteer)) return
  state.present = state.present.without(volunteer)
  state.gone = state.gone.with(volunteer, true)
  noteChange(state)
  lookAgain(state, volunteer)
}

export function everybodyGone(state: Draft): void {
  state.present = NOBODY
  state.eligible = NOBODY
  state.gone = Book.of([...state.paces.keys()].map((volunteer) => [volunteer, true] as const))
  noteChange(state)
}

/** After anything of this volunteer has changed that makes it eligible or not. */
export function lookAgain(state: Draft, volunteer: string): void {
  const { eligible } = state
  state.eligible = isEligible(state, volunteer) ? eligible.with(volunteer, true) : eligible.without(volunteer)
}

export function notePace(state: Draft, volunteer: string, tokensPerSecond: number | null): void {
  if (tokensPerSecond === null || tokensPerSecond <= 0) return
  setPace(state, volunteer, { tokensPerSecond, missed: state.paces.get(volunteer)?.missed ?? 0 })
}

/** [L8] Whether it has brought its last lease in time. */
export function noteMissed(state: Draft, volunteer: string, hasMissed: boolean): void {
  const pace = state.paces.get(volunteer)
  if (pace) setPace(state, volunteer, { ...pace, missed: hasMissed ? pace.missed + 1 : 0 })
}

function setPace(state: Draft, volunteer: string, pace: Pace): void {
  const before = state.paces.get(volunteer)
  if (before?.tokensPerSecond === pace.tokensPerSecond && before.missed === pace.missed) return
  state.paces = state.paces.with(volunteer, pace)
  for (const [id, lease] of state.leases.of(volunteer))
    state.leases = state.leases.expect(id, expectedEnd(state, lease))
  noteChange(state)
  if (!state.present.has(volunteer)) state.gone = state.gone.with(volunteer, true)
}

function noteChange(state: Draft): void {
  state.median = { ...state.median, changes: state.median.changes + 1 }
}

/** What was remembered of volunteers who had no part in this round and are not here. */
export function forgetTheGone(state: Draft): void {
  for (const volunteer of state.gone.keys()) {
    const isHere = state.present.has(volunteer)
    if (!isHere && (state.leases.holds(volunteer) || state.contributed.has(volunteer))) continue
    state.gone = state.gone.without(volunteer)
    if (!isHere) state.paces = state.paces.without(volunteer)
  }
  for (const [volunteer, { round }] of state.replicas.entries())
    if (round < state.round) state.replicas = state.replicas.without(volunteer) // L9
}
