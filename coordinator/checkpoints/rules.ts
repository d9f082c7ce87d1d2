/** Which checkpoints a run keeps, and why. Pure. RULES.md has the rules by number. */
import type { CheckpointReason, CheckpointRules } from '../../shared/protocol/checkpoints.ts'

/** Rounds of every fragment that keep what their outer steps were taken from. [K4] */
export const RECENT_ROUNDS = 3

export interface Measured {
  readonly round: number
  /** Null until it is measured. */
  readonly valLoss: number | null
}

/** [K2] [K3] By round, why each checkpoint is kept; those that are left out are to go. */
export function keptCheckpoints(
  checkpoints: readonly Measured[],
  { last, every, best }: CheckpointRules,
  fragments: number,
): Map<number, CheckpointReason[]> {
  const rounds = checkpoints.map(({ round }) => round).sort((a, b) => a - b)
  const newest = rounds.at(-1) ?? 0
  const lowest = new Set(lowestLosses(checkpoints, best))
  const isLast = new Set(rounds.slice(-last))
  const kept = new Map<number, CheckpointReason[]>()
  for (const { round, valLoss } of checkpoints) {
    const recent = round > newest - RECENT_ROUNDS * fragments
    const reasons: [CheckpointReason, boolean][] = [
      ['start', round === 0],
      ['last', isLast.has(round)],
      ['every', every > 0 && round > 0 && round % every === 0],
      ['best', lowest.has(round)],
      ['unmeasured', valLoss === null && best > 0 && recent && round > 0],
    ]
    const why = reasons.flatMap(([reason, holds]) => (holds ? [reason] : []))
    if (why.length > 0) kept.set(round, why)
  }
  return kept
}

/** Rounds with the lowest losses, the untrained weights left out; of equals the earlier. */
function lowestLosses(checkpoints: readonly Measured[], count: number): number[] {
  const measured = checkpoints.flatMap(({ round, valLoss }) =>
    valLoss === null || round === 0 ? [] : [{ round, valLoss }],
  )
  measured.sort((a, b) => a.valLoss - b.valLoss || a.round - b.round)
  return measured.slice(0, count).map(({ round }) => round)
}
