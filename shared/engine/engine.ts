/**
 * The training engine behind one interface. It runs in a browser's dedicated Worker and in Node alike. There are two:
 * on TensorFlow.js, for every backend (tfjs/), and the whole step compiled for WebGPU (compiled/). What it is not: it
 * knows no coordinator, no lease ids and no bytes on a wire; `client/swarm` and `coordinator/evaluate` drive it.
 */
import type { ModelConfig } from '../model/config.ts'
import type { ParameterRange } from '../model/layout.ts'
import type { Exchange } from './exchange.ts'

export const BACKENDS = ['webgpu', 'wasm', 'webgl'] as const
export type Backend = (typeof BACKENDS)[number]

/** One lease's worth of inner steps. */
export interface TrainJob {
  /** steps × batchSize sequences of sequenceLength + 1 token ids each, one after another. */
  readonly sequences: Uint16Array
  /** Inner steps to take. */
  readonly steps: number
  /** Sequences in one inner step. */
  readonly batchSize: number
  /** Sequences computed at once, a divisor of batchSize; their gradients add up to the batch's. Default: all. */
  readonly microBatch?: number
  /** Global step of the first inner step: the schedule follows it, whoever trains. */
  readonly firstStep: number
  /** Inner steps of the whole run, T; weight decay is 1/T. */
  readonly totalSteps: number
  /** Peak inner learning rate. */
  readonly peakLearningRate: number
}

export interface TrainProgress {
  /** Inner steps done in this job. */
  readonly step: number
  readonly steps: number
  /** Cross entropy of the last step whose loss was read, nats per token, without the z-loss. */
  readonly loss: number
  /** Over this job so far, time spent paused not counted. */
  readonly tokensPerSecond: number
}

export interface TrainResult {
  /** Inner steps really taken; fewer than asked after `stop()`. */
  readonly steps: number
  /** Tokens predicted: steps × batchSize × sequenceLength. */
  readonly tokens: number
  /** Mean over the steps of the cross entropy, nats per token. */
  readonly meanLoss: number
  /** Seconds inside inner steps, pauses not counted. */
  readonly seconds: number
}

/** The replica part-way through a job: enough to go on from there in another engine. */
export interface Snapshot {
  /** The job's result had it ended here. */
  readonly soFar: TrainResult
  readonly parameters: Float32Array<ArrayBuffer>
  readonly optimiser: OptimiserState
}

/** Who listens to a job. */
export interface TrainListener {
  /** About once a second and after the last step. */
  progress?(progress: TrainProgress): void
  /** Every `snapshotSeconds` of training, less often when reading a snapshot takes more than a twentieth of that. */
  snapshot?(snapshot: Snapshot): void
  /** Default: 10. */
  readonly snapshotSeconds?: number
}

/** AdamW's moments in layout order and the number of updates behind them. Stays with the replica. */
export interface OptimiserState {
  readonly firstMoment: Float32Array<ArrayBuffer>
  readonly secondMoment: Float32Array<ArrayBuffer>
  readonly updates: number
}

/** Cross entropy summed over all predicted tokens, in nats, in f64. */
export interface Evaluation {
  readonly nats: number
  readonly tokens: number
}

export interface GenerateOptions {
  /** Ids to add to the prompt. */
  readonly tokens: number
  /** 0 is greedy. */
  readonly temperature: number
  /** Sample among the k likeliest ids; 0 means all. */
  readonly topK: number
  readonly seed: string
}

export interface Engine extends Exchange {
  readonly backend: Backend
  readonly config: ModelConfig
  /** Resolves with the reason when the engine can do no more work, a lost device first of all; never rejects. */
  readonly ended: Promise<EngineError>
  /**
   * Replaces the parameters of a fragment, or all of them; `values` has the ranges' elements one after another, in
   * layout order when it is all. Keeps the moments.
   */
  setParameters(values: Float32Array, fragment?: readonly ParameterRange[]): void
  getParameters(fragment?: readonly ParameterRange[]): Promise<Float32Array<ArrayBuffer>>
  /** Fresh engines have zero moments and 0 updates. */
  setOptimiserState(state: OptimiserState): void
  getOptimiserState(): Promise<OptimiserState>
  /**
   * Takes inner steps until the job is done or `stop()` is called; yields to the event loop between steps.
   * @throws EngineError `engine/not-finite` when loss or gradient is no number, `engine/bad-job` when sizes
   * disagree, `engine/device-lost` as soon as the device is.
   */
  train(job: TrainJob, listener?: TrainListener): Promise<TrainResult>
  /** Holds `train` before its next step until `resume()`. */
  pause(): void
  resume(): void
  /** Ends `train` after the step under way. */
  stop(): void
  /**
   * Cross entropy of every predicted token in nats: [sequences, sequenceLength], of the second id of a sequence first.
   * `sequences` as in TrainJob; any number of them. Parameters do not change.
   */
  tokenLosses(sequences: Uint16Array): Promise<Float32Array<ArrayBuffer>>
  /** Their sum. `sequences` as in TrainJob; any number of them. Parameters do not change. */
  evaluate(sequences: Uint16Array): Promise<Evaluation>
  /** The prompt's ids followed by the new ones. */
  generate(prompt: readonly number[], options: GenerateOptions): Promise<number[]>
  /** Frees all memory of the backend. */
  dispose(): void
}

export type EngineErrorCode =
  | 'engine/not-finite'
  | 'engine/bad-job'
  | 'engine/backend-missing'
  | 'engine/device-lost'

export class EngineError extends Error {
  override readonly name = 'EngineError'
  constructor(
    readonly code: EngineErrorCode,
    message: string,
  ) {
    super(message)
  }
}
