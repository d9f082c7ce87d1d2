/** The kernels in TensorFlow.js operations: for the GPU backends, and what heapKernels.ts is compared with. */
import * as tf from '@tensorflow/tfjs-core'
import { LAYER_NORM_EPSILON } from '../../model/config.ts'
import type { Columns, Kernels, Normed, NormState } from './kernels.ts'

export const plainKernels: Kernels = {
  product: (a, b) => tf.matMul(a, b),
  productWithTransposed: (a, b) => tf.matMul(a, b, false, true),
  transposedProduct: (a, b) => tf.matMul(a, b, true, false),
  products: (a, b) => tf.matMul(a, b),
  productsWithTransposed: (a, b) => tf.matMul(a, b, false, true),
  transposedProducts: (a, b) => tf.matMul(a, b, true, false),
  layerNorm,
  layerNormBackward,
  gatedSilu: (gate, up) => tf.mul(tf.mul(gate, tf.sigmoid(gate)), up),
  gatedSiluBackward,
  rotate: (x, { cos, sin }) => tf.add(tf.mul(x, cos), tf.mul(swapHalves(x), sin)),
  rotateBackward: (dy, { cos, sin }) => tf.sub(tf.mul(dy, cos), tf.mul(swapHalves(dy), sin)),
  rowsOf: (table, ids) => tf.gather(table, ids),
  sumByIds: (rows, ids, count) => tf.unsortedSegmentSum(rows, ids, count),
  splitColumns,
  joinColumns: (parts) => tf.concat(parts, 1),
}

function layerNorm(x: tf.Tensor2D, gain: tf.Tensor1D): Normed {
  const centred = tf.sub<tf.Tensor2D>(x, tf.mean(x, 1, true)) // [rows, n]
  const variance = tf.mean(tf.square(centred), 1, true) // [rows, 1]
  const scale = tf.rsqrt(tf.add<tf.Tensor2D>(variance, LAYER_NORM_EPSILON)) // [rows, 1]
  const unit = tf.mul<tf.Tensor2D>(centred, scale) // [rows, n]
  return { y: tf.mul<tf.Tensor2D>(unit, gain), unit, scale }
}

function layerNormBackward(dy: tf.Tensor2D, { unit, scale }: NormState, gain: tf.Tensor1D) {
  const dGain = tf.sum<tf.Tensor1D>(tf.mul(dy, unit), 0) // [n]
  const dUnit = tf.mul<tf.Tensor2D>(dy, gain) // [rows, n]
  const along = tf.mean(tf.mul(dUnit, unit), 1, true) // [rows, 1]
  const inner = tf.sub(tf.sub(dUnit, tf.mean(dUnit, 1, true)), tf.mul(unit, along))
  return { dx: tf.mul<tf.Tensor2D>(inner, scale), dGain }
}

function gatedSiluBackward(dy: tf.Tensor2D, gate: tf.Tensor2D, up: tf.Tensor2D) {
  const sigmoid = tf.sigmoid(gate)
  const silu = tf.mul<tf.Tensor2D>(gate, sigmoid)
  // silu' = σ + silu·(1 − σ)
  const slope = tf.add<tf.Tensor2D>(sigmoid, tf.sub(silu, tf.mul(silu, sigmoid)))
  return { dGate: tf.mul<tf.Tensor2D>(tf.mul(dy, up), slope), dUp: tf.mul<tf.Tensor2D>(dy, silu) }
}

function splitColumns<Count extends 2 | 3>(x: tf.Tensor2D, count: Count): Columns<Count> {
  // tf.split gives exactly `count` tensors; its type only says some.
  return tf.split<tf.Tensor2D>(x, count, 1) as Columns<Count>
}

function swapHalves(x: tf.Tensor3D): tf.Tensor3D {
  const [left, right] = tf.split<tf.Tensor3D>(x, 2, 2)
  if (!left || !right) throw new Error('internal: split in two gave fewer')
  return tf.concat<tf.Tensor3D>([right, left], 2)
}
