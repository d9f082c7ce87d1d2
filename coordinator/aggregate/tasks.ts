/** The aggregation thread's tasks: opens the blobs and calls work.ts. thread.js brings them into the thread. */

import { floatsToBytes } from '../../shared/codec/floats.ts'
import type { ModelConfig } from '../../shared/model/config.ts'
import { initialParameters } from '../../shared/model/initial.ts'
import type { RejectionReason } from '../../shared/protocol/run.ts'
import type { Merge } from '../rounds/machine.ts'
import type { Machine } from '../rounds/state.ts'
import { openFileBlobStore } from '../store/fileBlobs.ts'
import { faultOf, largestMagnitude, mergeRound } from './work.ts'

export interface Folders {
  /** Weights, shards, manifests: what volunteers may fetch. */
  readonly blobs: string
  /** Contributions and velocity: the coordinator's own. */
  readonly vault: string
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
