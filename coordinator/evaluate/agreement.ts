/**
 * When two sums of cross entropy over the same tokens, computed in f32 by different backends, may be called the same.
 * Pure.
 */
import type { ModelConfig } from '../../shared/model/config.ts'

/** Unit roundoff of f32. */
const U = 2 ** -24
/**
 * Two engines, each of which may be this many roundings off for every one that cannot be avoided: a GPU's exp, rsqrt
 * and division are allowed a few units in the last place where IEEE arithmetic has half of one.
 */
const ENGINES = 2 * 8

/**
 * Additions and multiplications, one depending on the other, that lead from a token's embedding to its loss: the inner
 * products of every block, the softmax over the context, and the one over the vocabulary.
 */
function longestChain({ layers, dModel, hidden, sequenceLength, vocabSize }: ModelConfig): number {
  const attention = 2 * dModel + sequenceLength // queries against keys, then their use: dModel each at most, and projection
  const feedForward = dModel + hidden
  return layers * (2 * dModel + attention + feedForward) + dModel + vocabSize
}

/**
 * The relative difference up to which two sums agree: rounding errors are as often up as down, so n of them come to
 * about √n units (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., 2.8). Measured differences between
 * wasm, f64 and WebGPU are a tenth of it and less (agreement.test.ts); 5e-5 for `nano`, 3e-4 for `35m`.
 */
export function tolerance(config: ModelConfig): number {
  return ENGINES * U * Math.sqrt(longestChain(config))
}

export function agree(a: number, b: number, config: ModelConfig): boolean {
  return Math.abs(a - b) <= tolerance(config) * Math.max(a, b)
}
