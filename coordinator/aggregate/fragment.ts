/** What a merge takes and gives, as plain data. The arithmetic is in part.ts, its rules in RULES.md. */
import type { CodecName } from '../../shared/codec/codec.ts'

export interface Folders {
  /** Weights, deltas, shards, manifests: what volunteers may fetch. */
  readonly blobs: string
  /** Contributions, exact weights and velocity: the coordinator's own. */
  readonly vault: string
}

/** One fragment of the global model as it stands. */
export interface FragmentBase {
  readonly parameters: number
  /** Public blob, f32: θ̂, what every volunteer holds. */
  readonly weights: string
  /**
   * Vault blob, f32: θ, exact; the rounding of the downlink is fed back through the difference. Null: equal to
   * `weights`.
   */
  readonly exact: string | null
  /** Vault blob, f32; null before the first outer step: all zeros. */
  readonly velocity: string | null
  /** Largest magnitude among `weights`. */
  readonly largest: number
}

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

export interface Merged {
  readonly base: FragmentBase
  /** Public blob: what volunteers add to the old weights to have the new. */
  readonly delta: { readonly hash: string; readonly bytes: number }
}
