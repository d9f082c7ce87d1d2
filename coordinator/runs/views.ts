/** The run and the people as pages see them: pure functions from what is remembered to what is shown. */
import type { ContributionRow, VolunteerRow } from '../../shared/protocol/admin.ts'
import type { ImportRow } from '../../shared/protocol/checkpoints.ts'
import type { OpenEvaluation, TaskResult } from '../../shared/protocol/evaluation.ts'
import { LIMITS } from '../../shared/protocol/limits.ts'
import { thinned } from '../../shared/protocol/news.ts'
import type { FragmentView, RoundSummary, RunView } from '../../shared/protocol/run.ts'
import type { Fragment, Machine } from '../rounds/state.ts'
import type { Credit, ImportRecord, RunRecord, VolunteerRecord } from '../store/metadata.ts'
import { sentenceFor } from './messages.ts'
import type { Live } from './roster.ts'

export interface Remembered {
  readonly record: RunRecord
  readonly machine: Machine | null
  readonly parameters: number
  readonly rounds: readonly RoundSummary[]
  readonly samples: readonly { round: number; text: string }[]
  readonly contributors: number
  readonly evaluation: OpenEvaluation | null
  readonly tasks: readonly TaskResult[]
}

export function runView({ record, machine, ...rest }: Remembered, now: number): RunView {
  return {
    id: record.id,
    config: record.config,
    status: statusOf(record, machine),
    problem: record.problem,
    phase: machine?.phase ?? 'gathering',
    round: machine?.round ?? 1,
    era: machine?.era ?? 0,
    deadlineAt: machine?.deadlineAt ?? null,
    extensions: machine?.extensions ?? 0,
    present: machine?.present.size ?? 0,
    leased: machine?.leases.countOf(machine.round) ?? 0,
    accepted: machine?.accepted.size ?? 0,
    parameters: rest.parameters,
    tokens: rest.rounds.at(-1)?.totalTokens ?? 0,
    contributors: rest.contributors,
    weights: machine ? machine.fragments.map(fragmentView) : null,
    manifest: record.manifest,
    initialValLoss: record.initialValLoss,
    initialBitsPerByte: record.initialBitsPerByte,
    history: thinned(rest.rounds),
    evaluation: rest.evaluation,
    tasks: thinTasks(rest.tasks),
    samples: [...rest.samples],
    now,
  }
}

export const statusOf = (record: RunRecord, machine: Machine | null): RunView['status'] =>
  machine?.status ?? (record.status === 'failed' ? 'failed' : 'preparing')

const fragmentView = ({ base, deltas }: Fragment): FragmentView => ({
  hash: base.weights,
  bytes: 4 * base.parameters,
  deltas,
})

/** Every k-th, and always the newest. */
function thin<T>(list: readonly T[], most: number): T[] {
  const every = Math.ceil(list.length / most)
  return list.filter((_, i) => (list.length - 1 - i) % every === 0)
}

/** Each task's history by itself. */
function thinTasks(results: readonly TaskResult[]): TaskResult[] {
  const names = [...new Set(results.map(({ task }) => task))]
  const of = (name: string) => results.filter(({ task }) => task === name)
  return names.flatMap((name) => thin(of(name), LIMITS.historyPoints))
}

export function volunteerRow(
  record: VolunteerRecord,
  live: Live | undefined,
  credit: Credit | undefined,
  machine: Machine | null,
  group: VolunteerRow['group'] = null,
): VolunteerRow {
  const lease = machine?.leases.of(record.id).at(-1)?.[1] // the newest is the one it trains
  return {
    id: record.id,
    name: record.name,
    connected: live !== undefined,
    state: live?.state ?? 'stopped',
    backend: live?.backend ?? record.backend,
    device: live?.device || record.device,
    tokensPerSecond: live?.tokensPerSecond ?? record.tokensPerSecond,
    utilisation: live?.utilisation ?? null,
    bytesUp: live?.bytesUp ?? null,
    bytesDown: live?.bytesDown ?? null,
    group,
    peerBytesUp: live?.peerBytesUp ?? null,
    peerBytesDown: live?.peerBytesDown ?? null,
    step: lease && live ? live.step : null,
    steps: lease?.steps ?? null,
    accepted: credit?.accepted ?? 0,
    rejected: credit?.rejected ?? 0,
    tokens: credit?.tokens ?? 0,
    removed: record.removed,
    lastSeenAt: record.lastSeenAt,
  }
}

export const importRow = ({ hash, name, preset, vocabSize, at }: ImportRecord): ImportRow => ({
  ...{ hash, name, preset, vocabSize, at },
})

export const contributionRow = (row: Omit<ContributionRow, 'message'>): ContributionRow => ({
  ...row,
  message: row.reason === null ? `Accepted: ${row.tokens} tokens.` : sentenceFor(row.reason),
})
