/** What happens to the round machine, and what comes of it. Types alone: machine.ts says which follows from which. */
import type { CodecName } from '../../shared/codec/codec.ts'
import type { RejectionReason, RunConfig, WaitReason } from '../../shared/protocol/run.ts'
import type { Book } from './book.ts'
import type { AcceptedContribution, Checkpoint, FragmentBase, Machine, OpenLease } from './state.ts'

export type RoundEvent =
  | { type: 'start' | 'pause' | 'resume' | 'end' | 'tick' | 'restarted'; now: number }
  | { type: 'join'; volunteer: string; tokensPerSecond: number | null; now: number }
  | { type: 'leave' | 'disconnect' | 'remove'; volunteer: string; now: number }
  /** `id` names the lease if one is granted; `after` as in the protocol's LeaseRequest. */
  | {
      type: 'request'
      volunteer: string
      id: string
      after: string | null
      tokensPerSecond: number | null
      /** Tokens a second that others have told since a lease was last granted, by volunteer. */
      told: Book<number>
      now: number
    }
  | { type: 'release'; volunteer: string; lease: string; now: number }
  /** The bytes are stored and were found to hold what they should. */
  | { type: 'contribution'; volunteer: string; lease: string; content: Content; now: number }
  /** The mean of these contributions is stored and was found to hold what it should; `mean` is its hash. */
  | { type: 'group'; mean: string; members: readonly GroupMember[]; now: number }
  /** The bytes were found unfit; `hash` names them if they were stored. */
  | {
      type: 'unfit'
      volunteer: string
      lease: string
      reason: RejectionReason
      hash: string | null
      now: number
    }
  | { type: 'merged'; round: number; era: number; merged: MergedFragment; now: number }
  /** Of a round before the one under way. */
  | { type: 'roll-back'; to: Checkpoint; now: number }

export interface Content {
  readonly hash: string
  readonly bytes: number
  readonly steps: number
  readonly trainLoss: number
}

/** A contribution that came as its part of a group's mean. */
export interface GroupMember extends Content {
  readonly volunteer: string
  readonly lease: string
  /** With which it is in the mean. */
  readonly weight: number
}

export type LeaseEnd = 'accepted' | 'refused' | 'released' | 'orphaned' | 'removed' | 'closed' | 'rolled-back'

/** One outer step of one fragment. */
export interface Merge {
  readonly round: number
  readonly era: number
  readonly base: FragmentBase
  readonly codec: CodecName
  readonly downlink: RunConfig['downlink']
  /** Sorted by lease id. */
  readonly contributions: readonly {
    readonly lease: string
    readonly hash: string
    readonly weight: number
  }[]
  readonly learningRate: number
  readonly momentum: number
}

export interface MergedFragment {
  readonly base: FragmentBase
  /** Public blob: what volunteers add to the old weights to have the new. */
  readonly delta: { readonly hash: string; readonly bytes: number }
}

export interface ClosedRound {
  readonly round: number
  /** Index of the fragment that was brought together. */
  readonly fragment: number
  readonly replicas: number
  readonly tokens: number
  /** Inner steps of all contributions. */
  readonly steps: number
  readonly trainLoss: number
  readonly seconds: number
  readonly bytesUp: number
  readonly outerLearningRate: number
  readonly closedAt: number
  readonly before: FragmentBase
  readonly after: FragmentBase
  readonly delta: MergedFragment['delta']
  readonly leases: string[]
}

/** Rounds after `to` are no longer part of the run. */
export interface RolledBack {
  /** The round that was under way. */
  readonly from: number
  /** The round that is the last merged one now. */
  readonly to: number
  /** The era that begins. */
  readonly era: number
}

export type EventOf<T extends RoundEvent['type']> = Extract<RoundEvent, { type: T }>

export type Effect =
  | { type: 'granted'; volunteer: string; id: string; lease: OpenLease }
  | { type: 'wait'; volunteer: string; reason: WaitReason }
  | { type: 'accepted'; lease: string; contribution: AcceptedContribution }
  | { type: 'refused'; lease: string; volunteer: string; reason: RejectionReason; hash: string | null }
  | { type: 'lease-ended'; lease: string; end: LeaseEnd }
  | { type: 'merge'; merge: Merge }
  | { type: 'round-closed'; closed: ClosedRound }
  | { type: 'rolled-back'; rolledBack: RolledBack }

export interface Reduction {
  readonly state: Machine
  readonly effects: Effect[]
}
