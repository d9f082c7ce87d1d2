/** Whether the coordinator's own process measures a model, or volunteers do. Pure. */
import { predictPeakBytes } from '../../shared/engine/tfjs/peakBytes.ts'
import type { ModelConfig } from '../../shared/model/config.ts'
import { flopsPerToken } from '../../shared/model/flops.ts'
import type { EvaluationWay } from '../../shared/protocol/evaluation.ts'
import { TOKENS_A_BEAT } from './beat.ts'
import { HELD_OUT_TOKENS, sampleTokens } from './heldOut.ts'

/**
 * Floating-point operations a second of forward passes on wasm, of one thread that has to share its core: 8e9 for `nano`,
 * 13e9 for `micro` and 16e9 for `mini` were measured on a server of 2024.
 */
const FLOPS_A_SECOND = 4e9
/** An evaluation that takes longer falls behind the rounds. */
const MOST_SECONDS = 15 * 60
/** Node, its code and buffers. */
const PROCESS_BYTES = 300 * 2 ** 20

export interface Effort {
  /** At the peak, of the whole process. */
  readonly bytes: number
  /** Of one round's evaluation, its sample of text included. */
  readonly seconds: number
}

export function predictEffort(config: ModelConfig, heldOutTokens = HELD_OUT_TOKENS): Effort {
  const { sequenceLength } = config
  // A training step of as many sequences takes more: it has a backward pass too. That is room for what is read from disk.
  const microBatch = Math.max(1, Math.floor(TOKENS_A_BEAT / sequenceLength))
  const bytes = PROCESS_BYTES + predictPeakBytes(config, { backend: 'wasm', microBatch, accumulates: false })
  const tokens = heldOutTokens + sampleTokens(heldOutTokens, sequenceLength) * sequenceLength
  return { bytes, seconds: (tokens * flopsPerToken(config)) / 3 / FLOPS_A_SECOND } // a third is forward
}

/** The coordinator's. */
export interface Means {
  readonly memoryBytes: number
  /** To be measured a round. */
  readonly heldOutTokens: number
}

/** `auto` decided: the coordinator where memory and time allow. */
export function wayOf(
  chosen: EvaluationWay,
  config: ModelConfig,
  { memoryBytes, heldOutTokens }: Means,
): Exclude<EvaluationWay, 'auto'> {
  if (chosen !== 'auto') return chosen
  const { bytes, seconds } = predictEffort(config, heldOutTokens)
  return bytes <= memoryBytes && seconds <= MOST_SECONDS ? 'coordinator' : 'volunteers'
}
