/** The tables of the rotary embedding. */
import * as tf from '@tensorflow/tfjs-core'
import { type ModelConfig, ROPE_BASE } from '../../model/config.ts'
import type { Rotation } from './kernels.ts'

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
