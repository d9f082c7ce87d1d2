/** What Runs tells whoever counts. It only looks on: nothing that it does changes a run. */
import type { Receipt } from '../../shared/protocol/run.ts'
import type { Effect } from '../rounds/events.ts'
import type { Machine } from '../rounds/state.ts'

/** An event of the round machine, durable. */
export interface Committed {
  readonly before: Machine
  readonly after: Machine
  readonly effects: readonly Effect[]
  /** Unix milliseconds. */
  readonly now: number
}

export interface RunsObserver {
  committed(commit: Committed): void
  /** An evaluation took so long. */
  evaluated(seconds: number): void
  /** An evaluation came to nothing; the operator was told why. */
  evaluationFailed(): void
  /** A volunteer's measurement of a slice was used, refused, or found to disagree with two others. */
  sliceAnswered(result: 'taken' | 'refused' | 'odd'): void
  /** A volunteer who sent a contribution, or asked for its receipt, was answered. */
  answered(receipt: Receipt): void
  /** Bytes of a contribution's body arrived, whatever becomes of them. */
  arrived(bytes: number): void
  /** Bytes of a blob were handed to a connection. */
  sent(bytes: number): void
}
