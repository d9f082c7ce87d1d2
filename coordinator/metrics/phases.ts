/**
 * How long rounds spend in each phase, read off the states that are committed. Time in which the run is paused or over
 * does not count, except for a merge, which goes on. A phase that was under way when the process started is left out:
 * nobody saw it begin.
 */
import type { ROUND_PHASES } from '../../shared/protocol/run.ts'
import type { Machine } from '../rounds/state.ts'
import type { Committed } from '../runs/observer.ts'

export type Phase = (typeof ROUND_PHASES)[number]

export interface PassedPhase {
  readonly phase: Phase
  readonly seconds: number
}

/** In the order in which every round goes through them. */
const ORDER: readonly Phase[] = ['gathering', 'training', 'merging']

export class PhaseClock {
  #run: string | null = null
  /** Milliseconds of the phase under way, up to the last commit; null when its beginning was not seen. */
  #elapsed: number | null = null
  #at = 0

  /** The phases that this commit ended, oldest first. */
  passed({ before, after, now }: Omit<Committed, 'effects'>): PassedPhase[] {
    this.#count(before, after.run, now)
    if (before.era !== after.era) {
      this.#elapsed = 0 // rolled back: the phase that was cut off is no measure of anything
      return []
    }
    const [first, ...skipped] = endedBetween(before, after)
    if (first === undefined) return []
    const seen = this.#elapsed === null ? [] : [{ phase: first, seconds: this.#elapsed / 1_000 }]
    this.#elapsed = 0
    return [...seen, ...skipped.map((phase) => ({ phase, seconds: 0 }))]
  }

  #count(before: Machine, run: string, now: number): void {
    if (this.#run !== run) this.#elapsed = before.status === 'ready' ? 0 : null
    else if (this.#elapsed !== null && counts(before)) this.#elapsed += Math.max(0, now - this.#at)
    this.#run = run
    this.#at = now
  }
}

const counts = ({ status, phase }: Machine): boolean => status === 'running' || phase === 'merging'

/** A round that opens at once goes from merging to training in one commit. */
function endedBetween(before: Machine, after: Machine): Phase[] {
  const position = ({ round, phase }: Machine) => ORDER.length * round + ORDER.indexOf(phase)
  const first = position(before)
  return Array.from({ length: Math.max(0, position(after) - first) }, (_, i) => phaseAt(first + i))
}

const phaseAt = (position: number): Phase => ORDER[position % ORDER.length] as Phase // less than its length
