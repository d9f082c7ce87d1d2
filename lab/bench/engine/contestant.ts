/**
 * What the engine benchmark compares: implementations of one and the same inner step. This file is the interface
 * and the numbers that all of them must share; the implementations are ours.ts and peers/, and host.ts runs them
 * in a browser.
 */
import { innerLearningRate, localWarmup } from '../../../shared/engine/schedule.ts'
import type { ModelConfig } from '../../../shared/model/config.ts'

/** One implementation of the inner step, as the benchmark drives it. */
export interface Contestant {
  /**
   * One AdamW step on one batch: batch × (sequenceLength + 1) ids, one sequence after another. Steps count from 0
   * and are taken in order. Resolves, once the update is done, with the mean cross entropy in nats per token
   * before the update.
   */
  step(sequences: Uint16Array, step: number): Promise<number>
  /** The most bytes that tensors have held, where the engine counts them. */
  peakBytes?(): number
  dispose(): void
}

export interface ContestantOptions {
  config: ModelConfig
  backend: 'wasm' | 'webgpu' | 'webgl'
  /** Sequences in one step. */
  batch: number
  /** Of the compiled engine's states. Default: f32, in which all engines compute the same. */
  precision?: 'f32' | 'f16'
  /** Initial weights, in layout order. */
  parameters: Float32Array
  recipe: Recipe
}

export interface Recipe {
  /** Inner steps of the whole run, T; weight decay is 1/T. */
  totalSteps: number
  peakLearningRate: number
}

export type OpenContestant = (options: ContestantOptions) => Promise<Contestant>

/** The engines that enter, by the name the tables use; `tfjs` and `compiled` are ours. */
export const ENGINES = ['tfjs', 'compiled', 'stock-tfjs', 'jax-js'] as const
export type EngineName = (typeof ENGINES)[number]

/** Those that run on a backend. */
export function enginesOn(backend: ContestantOptions['backend']): EngineName[] {
  const only: Partial<Record<EngineName, readonly string[]>> = {
    compiled: ['webgpu'],
    'jax-js': ['webgpu', 'wasm'],
  }
  return ENGINES.filter((engine) => only[engine]?.includes(backend) ?? true)
}

/**
 * AdamW's factors at one step, for
 * `p ← keep·p − rate·m / (√(unbias·v) + ε)` after `m` and `v` have been updated.
 */
export interface UpdateFactors {
  /** 1 − learning rate × weight decay. */
  keep: number
  /** Learning rate over the first moment's bias correction. */
  rate: number
  /** The inverse of the second moment's bias correction. */
  unbias: number
}

export function updateFactors({ totalSteps, peakLearningRate }: Recipe, step: number): UpdateFactors {
  const learningRate = innerLearningRate(step, totalSteps, peakLearningRate) * localWarmup(step)
  return {
    keep: 1 - learningRate / totalSteps,
    rate: learningRate / (1 - BETA_1 ** (step + 1)),
    unbias: 1 / (1 - BETA_2 ** (step + 1)),
  }
}

export const BETA_1 = 0.9
export const BETA_2 = 0.99
export const EPSILON = 1e-8
/** Added to the gradient's norm before it divides, as torch.nn.utils.clip_grad_norm_ does. */
export const NORM_EPSILON = 1e-6

/** Whole sequences of length + 1 ids → inputs and the ids that follow them, [N] each. */
export function inputsAndTargets(sequences: Uint16Array, length: number) {
  const count = sequences.length / (length + 1)
  const inputs = new Int32Array(count * length)
  const targets = new Int32Array(count * length)
  for (let s = 0; s < count; s++) {
    const from = s * (length + 1)
    inputs.set(sequences.subarray(from, from + length), s * length)
    targets.set(sequences.subarray(from + 1, from + length + 1), s * length)
  }
  return { inputs, targets }
}
