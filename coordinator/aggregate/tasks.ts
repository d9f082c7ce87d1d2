/** The aggregation threads' tasks, as thread.js brings them into a thread; each answers an Outcome. */
import type { ModelConfig } from '../../shared/model/config.ts'
import { type Checked, type ContributionCheck, checkContribution } from './check.ts'
import { type Outcome, outcomeOf } from './faults.ts'
import type { Folders, FragmentBase } from './fragment.ts'
import { initialFragments } from './initial.ts'
import { joined, type SliceHashes, type SliceMean, sliceHashes, sliceMean } from './means.ts'
import { type PartJob, type PartResult, runPart } from './part.ts'
import { readWeights, type WeightsFile } from './readWeights.ts'
import { type Regrouping, regroup, type Values } from './regroup.ts'

/** One thread's part of a merge. */
export function mergePart(job: PartJob): Promise<Outcome<PartResult>> {
  return outcomeOf(runPart(job))
}

export interface ContributionTask {
  readonly folders: Folders
  readonly check: ContributionCheck
}

export function contribution({ folders, check }: ContributionTask): Promise<Outcome<Checked>> {
  return outcomeOf(checkContribution(folders, check))
}

export interface InitialFragmentsTask {
  readonly folders: Folders
  readonly config: ModelConfig
  readonly seed: string
  readonly fragments: number
}

export function untrained(task: InitialFragmentsTask): Promise<Outcome<FragmentBase[]>> {
  return outcomeOf(initialFragments(task.folders, task.config, task.seed, task.fragments))
}

export interface RegroupTask {
  readonly folders: Folders
  readonly regrouping: Regrouping
}

export function regrouped({ folders, regrouping }: RegroupTask): Promise<Outcome<Values[]>> {
  return outcomeOf(regroup(folders, regrouping))
}

export interface WeightsTask {
  readonly folders: Folders
  readonly file: WeightsFile
}

export function weights({ folders, file }: WeightsTask): Promise<Outcome<Values>> {
  return outcomeOf(readWeights(folders, file))
}

export interface MeanTask {
  readonly folders: Folders
  readonly mean: SliceMean
}

export function mean(task: MeanTask): Promise<Outcome<string | null>> {
  return outcomeOf(sliceMean(task.folders, task.mean))
}

export interface JoinTask {
  readonly folders: Folders
  readonly hashes: readonly string[]
}

export function together({ folders, hashes }: JoinTask): Promise<Outcome<string>> {
  return outcomeOf(joined(folders, hashes))
}

export interface SliceHashesTask {
  readonly folders: Folders
  readonly of: SliceHashes
}

export function hashesOfSlices({ folders, of }: SliceHashesTask): Promise<Outcome<string[]>> {
  return outcomeOf(sliceHashes(folders, of))
}
