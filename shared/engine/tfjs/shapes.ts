/** Heads apart and together, and the tables of the rotary embedding. */
import * as tf from '@tensorflow/tfjs-core'
import { type ModelConfig, ROPE_BASE } from '../../model/config.ts'
import type { Rotation } from './kernels.ts'

/** Rows of all heads → [B·H, T, D]. `x` is [N, d] or [N·H, D], the same numbers in the same order. */
export function toHeads(x: tf.Tensor2D, { sequenceLength, heads, headDim }: ModelConfig): tf.Tensor3D {
  const apart = tf.transpose(tf.reshape(x, [-1, sequenceLength, heads, headDim]), [0, 2, 1, 3]) // [B, H, T, D]
  return tf.reshape(apart, [-1, sequenceLength, headDim])
}

/** [B·H, T, D] → [N, d] */
export function fromHeads(
  x: tf.Tensor3D,
  { sequenceLength, heads, headDim, dModel }: ModelConfig,
): tf.Tensor2D {
  const apart = tf.reshape(x, [-1, heads, sequenceLength, headDim]) // [B, H, T, D]
  return tf.reshape(tf.transpose(apart, [0, 2, 1, 3]), [-1, dModel])
}

/** Position t turns pair i of the halves by t / 10000^(2i/D). `factor` scales the result. */
export function rotationTables({ sequenceLength, headDim }: ModelConfig, factor: number): Rotation {
  const half = headDim / 2
  const cos = new Float32Array(sequenceLength * headDim)
  const sin = new Float32Array(sequenceLength * headDim)
  for (let t = 0; t < sequenceLength; t++) {
    for (let i = 0; i < half; i++) {
      const angle = t / ROPE_BASE ** ((2 * i) / headDim)
      const at = t * headDim + i
      cos[at] = cos[at + half] = factor * Math.cos(angle)
      sin[at + half] = factor * Math.sin(angle)
      sin[at] = -factor * Math.sin(angle)
    }
  }
  const shape: [number, number] = [sequenceLength, headDim]
  return { cos: tf.tensor2d(cos, shape), sin: tf.tensor2d(sin, shape) }
}
