/**
 * The differentiable pieces of the model that need no knowledge of it, each as a forward function and the
 * backward one beside it. There is no tape: model.ts calls the backward functions itself, last first, which
 * keeps memory and operations in sight and needs no gradient registry. Attention and the loss have own files.
 */
import * as tf from '@tensorflow/tfjs-core'
import { LAYER_NORM_EPSILON } from '../../model/config.ts'
import { scatterAdd } from './wasmHeap.ts'

/**
 * TensorFlow.js's wasm backend sends only plain a·b to XNNPACK; a product with a transposed operand takes a loop
 * that measured 10 to 50 times slower (512³: 34 against 3.6 and 1.3 GFLOP/s on one core). Transposing first
 * costs a copy and wins everywhere. The GPU backends read transposed operands directly.
 */
const transposesFirst = () => tf.getBackend() === 'wasm'

/** a·b */
export function product(a: tf.Tensor2D, b: tf.Tensor2D): tf.Tensor2D {
  return tf.matMul(a, b)
}

/** a·bᵀ */
export function productWithTransposed(a: tf.Tensor2D, b: tf.Tensor2D): tf.Tensor2D {
  return transposesFirst() ? tf.matMul(a, tf.transpose(b)) : tf.matMul(a, b, false, true)
}

/** aᵀ·b */
export function transposedProduct(a: tf.Tensor2D, b: tf.Tensor2D): tf.Tensor2D {
  return transposesFirst() ? tf.matMul(tf.transpose(a), b) : tf.matMul(a, b, true, false)
}

/** What a LayerNorm keeps for its backward pass. */
export type Normed = {
  readonly y: tf.Tensor2D
  /** (x − mean)/deviation, before the gain. */
  readonly unit: tf.Tensor2D
  /** 1/deviation of each row, [rows, 1]. */
  readonly scale: tf.Tensor2D
}

/** Each row to mean 0 and deviation 1, times the gain; no bias. */
export function layerNorm(x: tf.Tensor2D, gain: tf.Tensor1D): Normed {
  const centred = tf.sub<tf.Tensor2D>(x, tf.mean(x, 1, true)) // [rows, n]
  const variance = tf.mean(tf.square(centred), 1, true) // [rows, 1]
  const scale = tf.rsqrt(tf.add<tf.Tensor2D>(variance, LAYER_NORM_EPSILON)) // [rows, 1]
  const unit = tf.mul<tf.Tensor2D>(centred, scale) // [rows, n]
  return { y: tf.mul<tf.Tensor2D>(unit, gain), unit, scale }
}

export function layerNormBackward(dy: tf.Tensor2D, { unit, scale }: Normed, gain: tf.Tensor1D) {
  const dGain = sumRows(tf.mul<tf.Tensor2D>(dy, unit)) // [n]
  const dUnit = tf.mul<tf.Tensor2D>(dy, gain) // [rows, n]
  const along = tf.mean(tf.mul(dUnit, unit), 1, true) // [rows, 1]
  const inner = tf.sub(tf.sub(dUnit, tf.mean(dUnit, 1, true)), tf.mul(unit, along))
  return { dx: tf.mul<tf.Tensor2D>(inner, scale), dGain }
}

/** Sum over the first axis. As a product with ones, because stock sum over it first transposes everything. */
function sumRows(x: tf.Tensor2D): tf.Tensor1D {
  if (tf.getBackend() !== 'wasm') return tf.sum(x, 0)
  return tf.reshape(tf.matMul(tf.ones([1, x.shape[0]]), x), [x.shape[1]])
}

/** silu(gate)·up, the middle of SwiGLU. */
export function gatedSilu(gate: tf.Tensor2D, up: tf.Tensor2D): tf.Tensor2D {
  return tf.mul(tf.mul(gate, tf.sigmoid(gate)), up)
}

export function gatedSiluBackward(dy: tf.Tensor2D, gate: tf.Tensor2D, up: tf.Tensor2D) {
  const sigmoid = tf.sigmoid(gate)
  const silu = tf.mul<tf.Tensor2D>(gate, sigmoid)
  // silu' = σ + silu·(1 − σ)
  const slope = tf.add<tf.Tensor2D>(sigmoid, tf.sub(silu, tf.mul(silu, sigmoid)))
  return { dGate: tf.mul<tf.Tensor2D>(tf.mul(dy, up), slope), dUp: tf.mul<tf.Tensor2D>(dy, silu) }
}

/** Tables of the rotary embedding for one sequence; a row is a position. */
export type Rotation = {
  /** cos, twice side by side, [T, headDim]. */
  readonly cos: tf.Tensor2D
  /** −sin and sin side by side, [T, headDim]. */
  readonly sin: tf.Tensor2D
}

/** Rotates the two halves of the last axis against each other by the position's angles. */
export function rotate(x: tf.Tensor3D, { cos, sin }: Rotation): tf.Tensor3D {
  return tf.add(tf.mul(x, cos), tf.mul(swapHalves(x), sin)) // [B·heads, T, headDim]
}

/** The transpose of a rotation turns back. */
export function rotateBackward(dy: tf.Tensor3D, { cos, sin }: Rotation): tf.Tensor3D {
  return tf.sub(tf.mul(dy, cos), tf.mul(swapHalves(dy), sin))
}

function swapHalves(x: tf.Tensor3D): tf.Tensor3D {
  const [left, right] = tf.split<tf.Tensor3D>(x, 2, 2)
  if (!left || !right) throw new Error('internal: split in two gave fewer')
  return tf.concat<tf.Tensor3D>([right, left], 2)
}

/** Adds row n of `rows` to row ids[n] of a [count, width] tensor of zeros: the gradient of a gather. */
export function sumByIds(rows: tf.Tensor2D, ids: tf.Tensor1D, count: number): tf.Tensor2D {
  // The wasm backend has no UnsortedSegmentSum kernel.
  if (tf.getBackend() === 'wasm') return scatterAdd(rows, ids, count)
  return tf.unsortedSegmentSum(rows, ids, count)
}
