/**
 * What is made at once and what is kept, as pure functions of shapes: the arithmetic goes by them, and peakBytes.ts
 * predicts memory with them. Knows nothing of TensorFlow.js, so that a page can ask too.
 */
import type { ModelConfig } from '../../model/config.ts'

/**
 * Rows one softmax call may have. The webgpu backend dispatches a row per workgroup without a bound check and
 * writes out of place above 65,535 rows: 70,001 rows gave a wrong last one. Stated in its softmax program;
 * delete when upstream guards the row.
 */
export const MOST_SOFTMAX_ROWS = 65_535
/** Elements of [T, T] matrices, or of logits, made at once: 64 MiB. */
const MOST_AT_ONCE = 2 ** 24
/** Elements of probabilities kept for the backward pass per layer: 32 MiB. */
const MOST_PROBABILITIES = 2 ** 23
/** Elements of states kept when nothing else is asked for: 512 MiB. */
const MOST_STATES = 2 ** 27
/**
 * Elements of parameters in one flat tensor of deviceAdamW.ts, 64 MiB, below WebGPU's default limit for a binding; one
 * parameter tensor may exceed it.
 */
export const MOST_FLAT = 2 ** 24

/** [T, T] matrices made at once. */
export function headsAtOnce(length: number): number {
  return Math.max(1, Math.floor(Math.min(MOST_SOFTMAX_ROWS / length, MOST_AT_ONCE / (length * length))))
}

/** Whether a layer keeps the probabilities of `heads` = B·H heads for its backward pass. */
export function keepsProbabilities(heads: number, length: number): boolean {
  return heads * length * length <= MOST_PROBABILITIES
}

/** Rows whose logits are made at once. */
export function rowsAtOnce(vocabulary: number): number {
  return Math.max(1, Math.min(MOST_SOFTMAX_ROWS, Math.floor(MOST_AT_ONCE / vocabulary)))
}

/** Elements of one block's state for `count` sequences: see BlockState in block.ts. */
export function stateElements(config: ModelConfig, count: number): number {
  const { dModel, hidden, heads, sequenceLength: length } = config
  const perRow = 11 * dModel + 3 * hidden + 2 * heads + 2
  const probabilities = keepsProbabilities(count * heads, length) ? count * heads * length * length : 0
  return count * length * perRow + probabilities
}

/** Whether the states of all blocks are kept between the passes, or each made again in the backward one. */
export function keepsStates(config: ModelConfig, count: number, most = MOST_STATES): boolean {
  return stateElements(config, count) * config.layers <= most
}

/**
 * Elements of probabilities from which wasm transposes them for the output layer's gradient, instead of the two narrow
 * matrices beside them. Below, XNNPACK packs them while they are in the cache: 512×1,024 times 512×64 takes 1.7 ms
 * instead of 2.4, but 512×4,096 times 512×128 takes 38 instead of 24.
 */
const LEAST_TRANSPOSED = 2 ** 20

export function transposesWide(rows: number, columns: number): boolean {
  return rows * columns >= LEAST_TRANSPOSED
}
