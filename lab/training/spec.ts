/** What one training run is, in full: plain data, and the key under which its result is kept. */
import type { CodecName } from '../../shared/codec/codec.ts'
import type { ModelConfig } from '../../shared/model/config.ts'

export interface Spec {
  readonly model: ModelConfig
  /** Of the initial weights, the order of the data, and every chance. */
  readonly seed: string
  /** M; null is data parallelism: a gradient of the whole batch each step, and no outer step. */
  readonly replicas: number | null
  /** H. */
  readonly innerSteps: number
  /** Sequences of one step of all replicas together; a multiple of M. */
  readonly batch: number
  /** To be trained by all replicas together. */
  readonly tokens: number
  readonly innerLearningRate: number
  /** η; of no meaning to data parallelism. */
  readonly outerLearningRate: number
  readonly outerMomentum: number
  /** Up; with full error feedback. Down is f32. */
  readonly codec: CodecName
  readonly merge: 'mean' | 'rda'
  /** Validation tokens of the evaluation at the end. */
  readonly heldOutTokens: number
  /** What goes wrong; nothing unless said. */
  readonly trouble: Trouble
}

export interface Trouble {
  /** Share of contributions that are lost; their replicas snap back to the global weights. */
  readonly drops?: number
  /** Share of rounds in which a replica is replaced by a newcomer with empty moments. */
  readonly newcomers?: number
  /** Whether newcomers warm up, as production's do. Default: they do. */
  readonly warmUp?: boolean
  /** Replicas at work by quarters of the rounds, as shares of M. */
  readonly pool?: readonly [number, number, number, number]
  /** Speeds of replicas relative to one another, repeated as needed; leases are sized by them. */
  readonly speeds?: readonly number[]
}

export interface Outcome {
  /** Nats per token of the global weights at the end. */
  readonly loss: number
  /** Really trained. */
  readonly tokens: number
  readonly rounds: number
  /** Uplink of all replicas. */
  readonly bytesUp: number
  /** Of computing. */
  readonly seconds: number
}

export const keyOf = (spec: Spec): string => JSON.stringify(spec)
