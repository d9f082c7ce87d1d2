/** What a merge takes and gives, as plain data. The arithmetic is in part.ts, its rules in RULES.md. */
import type { CodecName } from '../../shared/codec/codec.ts'
import type { MergedFragment } from '../rounds/events.ts'
import type { FragmentBase } from '../rounds/state.ts'

export interface Folders {
  /** Weights, deltas, shards, manifests: what volunteers may fetch. */
  readonly blobs: string
  /** Contributions, exact weights and velocity: the coordinator's own. */
  readonly vault: string
}

export type { FragmentBase }

export interface FragmentMerge {
  readonly base: FragmentBase
  /** Of the contributions. */
  readonly codec: CodecName
  /** Of the published delta. */
  readonly downlink: CodecName
  readonly learningRate: number
  readonly momentum: number
  /** In the order to sum; `hash` is a vault blob that has passed the check. */
  readonly contributions: readonly { lease: string; hash: string; weight: number }[]
}

export interface MergeTask {
  readonly folders: Folders
  readonly merge: FragmentMerge
}

/** The merged fragment and its delta. */
export type Merged = MergedFragment
