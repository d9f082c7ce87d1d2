/** Judgements about an AdminView, pure: which actions make sense, sums, what a row is called. */
import type { AdminView, ContributionRow, RunAction, VolunteerRow } from '../../shared/protocol/admin.ts'
import type { CheckpointRow } from '../../shared/protocol/checkpoints.ts'
import type { VolunteerState } from '../../shared/protocol/messages.ts'
import type { RunView } from '../../shared/protocol/run.ts'

const ALLOWED: Record<RunView['status'], readonly RunAction[]> = {
  preparing: [],
  ready: ['start', 'end'],
  running: ['pause', 'end'],
  paused: ['resume', 'end'],
  completed: [],
  ended: [],
  failed: [],
}

export const isAllowed = (action: RunAction, status: RunView['status']) => ALLOWED[status].includes(action)

/** A finished run leaves room for the next one. */
export const mayCreate = (run: Pick<RunView, 'status'> | null) =>
  run === null || run.status === 'completed' || run.status === 'ended' || run.status === 'failed'

/** [B1] Of the run under way, a round before it. */
export const mayRollBackTo = (
  row: Pick<CheckpointRow, 'run' | 'round'>,
  run: Pick<RunView, 'id' | 'status' | 'round'> | null,
): boolean =>
  run?.id === row.run && (run.status === 'running' || run.status === 'paused') && row.round < run.round

export type RowState = VolunteerState | 'away' | 'removed'

export function rowState(row: VolunteerRow): RowState {
  if (row.removed !== null) return 'removed'
  return row.connected ? row.state : 'away'
}

/** Volunteers at work and their speed together; null when none is at work. */
export function speedNow(volunteers: AdminView['volunteers']): {
  training: number
  tokensPerSecond: number | null
} {
  const training = volunteers.filter((row) => rowState(row) === 'training')
  const rates = training.map((row) => row.tokensPerSecond).filter((rate) => rate !== null)
  return {
    training: training.length,
    tokensPerSecond: rates.length === 0 ? null : rates.reduce((sum, rate) => sum + rate, 0),
  }
}

export const CONTRIBUTION_FILTERS = ['all', 'accepted', 'rejected'] as const
export type ContributionFilter = (typeof CONTRIBUTION_FILTERS)[number]

export const filterContributions = (rows: readonly ContributionRow[], filter: ContributionFilter) =>
  filter === 'all' ? [...rows] : rows.filter((row) => row.result === filter)
