/**
 * The aggregation threads' tasks, as thread.js brings them into a thread. Of the fragments, each answers an Outcome;
 * check, merge and initial are those of whole models in one f16 blob.
 */

import { floatsToBytes } from '../../shared/codec/floats.ts'
import type { ModelConfig } from '../../shared/model/config.ts'
import { initialParameters } from '../../shared/model/initial.ts'
import type { RejectionReason } from '../../shared/protocol/run.ts'
import type { Merge } from '../rounds/machine.ts'
import type { Machine } from '../rounds/state.ts'
import { openFileBlobStore } from '../store/fileBlobs.ts'
import { type Checked, type ContributionCheck, checkContribution } from './check.ts'
import { type Outcome, outcomeOf } from './faults.ts'
import type { Folders, FragmentBase } from './fragment.ts'
import { initialFragments } from './initial.ts'
import { type PartJob, type PartResult, runPart } from './part.ts'
import { faultOf, largestMagnitude, mergeRound } from './work.ts'

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

export interface CheckTask {
  readonly folders: Folders
  readonly hash: string
  readonly parameters: number
  readonly bound: number
}

export async function check({
  folders,
  hash,
  parameters,
  bound,
}: CheckTask): Promise<RejectionReason | null> {
  const vault = await openFileBlobStore(folders.vault)
  return faultOf(await vault.get(hash), parameters, bound)
}

export async function merge({
  folders,
  merge,
}: {
  folders: Folders
  merge: Merge
}): Promise<Machine['base']> {
  const blobs = await openFileBlobStore(folders.blobs)
  const vault = await openFileBlobStore(folders.vault)
  const { base, learningRate, momentum } = merge
  const input = {
    weights: await blobs.get(base.weights),
    velocity: base.velocity === null ? null : await vault.get(base.velocity),
    learningRate,
    momentum,
  }
  async function* contributions() {
    for (const { hash, tokens } of merge.contributions) yield { bytes: await vault.get(hash), tokens }
  }
  const output = await mergeRound(input, contributions())
  return {
    weights: await blobs.put(output.weights),
    velocity: await vault.put(output.velocity),
    largest: output.largest,
  }
}

export interface InitialTask {
  readonly folders: Folders
  readonly config: ModelConfig
  readonly seed: string
}

/** Makes and stores the untrained weights. */
export async function initial({ folders, config, seed }: InitialTask): Promise<Machine['base']> {
  const blobs = await openFileBlobStore(folders.blobs)
  const values = initialParameters(config, seed)
  return {
    weights: await blobs.put(floatsToBytes(values)),
    velocity: null,
    largest: largestMagnitude(values),
  }
}
