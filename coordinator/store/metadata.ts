/**
 * Everything the coordinator remembers that is not a blob. The interface; sqlite.ts is the driver so far, and
 * metadata.contract.test.ts says what any driver must do.
 */

import type { Backend } from '../../shared/engine/engine.ts'
import type { TaskName } from '../../shared/evaluate/tasks.ts'
import type { PresetName } from '../../shared/model/config.ts'
import type { ContributionRow, CorpusRow } from '../../shared/protocol/admin.ts'
import type { EvaluationWay, TaskResult } from '../../shared/protocol/evaluation.ts'
import type { DataRange, RejectionReason, RoundSummary, RunConfig } from '../../shared/protocol/run.ts'
import type { ClosedRound, LeaseEnd, RolledBack } from '../rounds/events.ts'
import type { AcceptedContribution, Checkpoint, Machine } from '../rounds/state.ts'
import type { RunFile } from './schema.ts'
import type { StartingPoint } from './startingPoint.ts'

export type { RunFile, StartingPoint }

export interface RunRecord {
  readonly id: string
  readonly config: RunConfig
  /** `preparing` and `failed` runs have no machine yet. */
  readonly status: 'preparing' | 'failed' | 'prepared'
  readonly problem: string | null
  readonly machine: Machine | null
  readonly manifest: string | null
  /** The untrained fragments' hashes; null while preparing. */
  readonly initialWeights: string[] | null
  readonly initialValLoss: number | null
  readonly initialBitsPerByte: number | null
  /** Of blobs, in the round under way. */
  readonly bytesDown: number
  /** Null: untrained weights, made from the seed. */
  readonly start: StartingPoint | null
  readonly createdAt: number
}

export interface VolunteerRecord {
  readonly id: string
  readonly name: string
  readonly backend: Backend | null
  readonly device: string
  readonly tokensPerSecond: number | null
  /** The operator's reason, or null. */
  readonly removed: string | null
  readonly lastSeenAt: number
}

/** Counted from the contributions themselves, so that nothing can be counted twice. */
export interface Credit {
  readonly accepted: number
  readonly rejected: number
  /** Tokens of contributions that were merged, also into rounds that were rolled back later. */
  readonly tokens: number
}

export interface LeaseRecord {
  readonly id: string
  readonly run: string
  readonly round: number
  readonly volunteer: string
  readonly steps: number
  readonly ranges: DataRange[]
  readonly end: LeaseEnd | null
}

export interface ContributionRecord {
  readonly lease: string
  readonly round: number
  readonly volunteer: string
  readonly result: 'accepted' | 'rejected'
  readonly reason: RejectionReason | null
  readonly hash: string | null
  readonly tokens: number
}

/** What one event of the round machine makes true, all of it or nothing. */
export interface Commit {
  readonly machine: Machine
  readonly granted: {
    readonly id: string
    readonly volunteer: string
    readonly round: number
    readonly steps: number
    readonly ranges: DataRange[]
  }[]
  readonly ended: { readonly lease: string; readonly end: LeaseEnd }[]
  readonly accepted: { readonly lease: string; readonly contribution: AcceptedContribution }[]
  readonly refused: {
    readonly lease: string
    readonly volunteer: string
    readonly reason: RejectionReason
    readonly hash: string | null
  }[]
  /** With the round's checkpoint. */
  readonly closed: (ClosedRound & { readonly bytesDown: number; readonly checkpoint: Checkpoint }) | null
  readonly rolledBack: RolledBack | null
  /** Of the round that is under way afterwards, so far. */
  readonly bytesDown: number
  readonly now: number
}

/** What was measured of a round's global weights. Round 0 is the untrained model. */
interface Evaluation {
  /** Hashes of the fragments. */
  readonly weights: readonly string[]
  /** Hash of exactly what they were measured on. */
  readonly data: string
  /** Sequences, or a task's examples. */
  readonly examples: number
  readonly by: Exclude<EvaluationWay, 'auto'>
  readonly seconds: number
  /** Unix milliseconds. */
  readonly at: number
}

export interface HeldOutEvaluation extends Evaluation {
  /** Cross entropy summed over the predicted tokens, and the bytes of text that those stand for. */
  readonly nats: number
  readonly tokens: number
  readonly bytes: number
  /** Text that the model wrote; volunteers write none. */
  readonly sample: string | null
}

export interface TaskEvaluation extends Evaluation, Omit<TaskResult, 'round' | 'examples'> {}

/** What a closed round's outer step was taken from, of its fragment. */
export interface RoundBlobs {
  readonly round: number
  readonly weightsBefore: string
  readonly exactBefore: string | null
  readonly velocityBefore: string | null
  /** Hashes of those that were merged. */
  readonly contributions: string[]
}

export interface CheckpointRecord extends Checkpoint {
  readonly run: string
  /** Of the round; null until it is measured. */
  readonly valLoss: number | null
  readonly bitsPerByte: number | null
  /** Null of round 0. */
  readonly trainLoss: number | null
  readonly at: number
}

export interface RollbackRecord extends RolledBack {
  readonly contributions: number
  readonly tokens: number
  readonly at: number
}

export interface ImportRecord {
  readonly hash: string
  /** The operator's. */
  readonly name: string
  readonly preset: PresetName
  readonly vocabSize: number
  /** Largest magnitude. */
  readonly largest: number
  readonly at: number
}

/** A corpus that the operator imported. */
export interface CorpusRecord extends CorpusRow {
  /** Of its index. */
  readonly hash: string
}

/** A zero-shot task whose examples are here. */
export interface TaskRecord {
  readonly name: TaskName
  /** Hash of the examples. */
  readonly data: string
  readonly examples: number
  /** Paths or URLs, as the operator gave them. */
  readonly source: string
  readonly at: number
}

export interface MetadataStore {
  setting(key: string): Promise<string | null>
  setSetting(key: string, value: string | null): Promise<void>

  createVolunteer(volunteer: { id: string; name: string; tokenHash: string; now: number }): Promise<void>
  volunteerByToken(tokenHash: string): Promise<VolunteerRecord | null>
  updateVolunteer(id: string, change: Partial<Omit<VolunteerRecord, 'id' | 'name'>>): Promise<void>
  /** Most recently seen first. */
  volunteers(limit: number): Promise<VolunteerRecord[]>
  credit(volunteers: readonly string[]): Promise<Map<string, Credit>>

  /** `start`'s files are the run's from here on. */
  createRun(run: { id: string; config: RunConfig; start?: StartingPoint | null; now: number }): Promise<void>
  run(id: string): Promise<RunRecord | null>
  latestRun(): Promise<RunRecord | null>
  failRun(run: string, problem: string): Promise<void>
  prepareRun(run: string, machine: Machine, manifest: string): Promise<void>
  commit(commit: Commit): Promise<void>
  /** A later one of the same round and kind takes the earlier one's place. */
  setHeldOut(run: string, round: number, evaluation: HeldOutEvaluation): Promise<void>
  setTask(run: string, round: number, evaluation: TaskEvaluation): Promise<void>

  lease(id: string): Promise<LeaseRecord | null>
  /** The accepted contribution of a lease, or its newest refusal. */
  contribution(lease: string): Promise<ContributionRecord | null>
  /** Those after one of them, or all; oldest first. */
  rounds(run: string, after?: Pick<RoundSummary, 'round' | 'totalTokens'>): Promise<RoundSummary[]>
  /** Of the rounds that stand, what those after `round` stood on. */
  roundBlobs(run: string, round: number): Promise<RoundBlobs[]>
  /** Oldest first; of one run, or of all. */
  checkpoints(run: string | null): Promise<CheckpointRecord[]>
  dropCheckpoints(run: string, rounds: readonly number[]): Promise<void>
  /** What lies on disk because of this run. */
  files(run: string): Promise<Omit<RunFile, 'run'>[]>
  noteFiles(files: readonly RunFile[]): Promise<void>
  forgetFile(file: RunFile): Promise<void>
  /** Whether other runs have the same bytes, or they were imported. */
  heldElsewhere(file: RunFile): Promise<boolean>
  /** Newest first. */
  rollbacks(run: string): Promise<RollbackRecord[]>
  /** Rounds that were rolled back, newest first. */
  discardedRounds(
    run: string,
    limit: number,
  ): Promise<(Omit<RoundSummary, 'totalTokens'> & { era: number })[]>
  /** Newest first. */
  imports(): Promise<ImportRecord[]>
  addImport(imported: ImportRecord): Promise<void>
  dropImport(hash: string): Promise<void>
  /** Newest first. */
  corpora(): Promise<CorpusRecord[]>
  addCorpus(corpus: CorpusRecord): Promise<void>
  dropCorpus(id: string): Promise<void>
  /** Volunteers who ever had a contribution accepted. */
  contributors(run: string): Promise<number>
  /** The first and the newest. */
  samples(run: string): Promise<{ round: number; text: string }[]>
  /** What was measured of a round on the held-out set; null when nothing was. */
  heldOut(run: string, round: number): Promise<Omit<HeldOutEvaluation, 'sample'> | null>
  /** Oldest first. */
  taskResults(run: string): Promise<TaskResult[]>
  /** By name. */
  tasks(): Promise<TaskRecord[]>
  /** Takes the place of one of that name. */
  setTaskData(task: TaskRecord): Promise<void>
  dropTaskData(name: TaskName): Promise<void>
  /** Newest first. */
  contributions(run: string, limit: number): Promise<Omit<ContributionRow, 'message'>[]>
  close(): Promise<void>
}
