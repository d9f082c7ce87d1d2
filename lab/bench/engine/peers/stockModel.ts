/**
 * The transformer in stock TensorFlow.js operations, forward only: `tf.variableGrads` makes the backward pass.
 * Shapes stand at line ends: B sequences of T tokens, N = B·T rows, d = dModel, h = hidden, H = heads,
 * D = headDim, V = vocabSize. No more than 65,535 rows of attention (B·H·T): above, webgpu's softmax is wrong.
 */
import * as tf from '@tensorflow/tfjs'
import { LAYER_NORM_EPSILON, type ModelConfig, Z_LOSS } from '../../../../shared/model/config.ts'
import { type Block, causalMask, named, rotationTables } from './parameters.ts'

export interface Constants {
  config: ModelConfig
  /** Added to the scores, [T, T]. */
  mask: tf.Tensor2D
  /** The rotary embedding's tables, [T, D]. */
  cos: tf.Tensor2D
  sin: tf.Tensor2D
}

export function makeConstants(config: ModelConfig): Constants {
  const { sequenceLength, headDim } = config
  const { cos, sin } = rotationTables(config)
  return {
    config,
    mask: tf.tensor2d(causalMask(sequenceLength), [sequenceLength, sequenceLength]),
    cos: tf.tensor2d(cos, [sequenceLength, headDim]),
    sin: tf.tensor2d(sin, [sequenceLength, headDim]),
  }
}

/** Means over the tokens: the cross entropy in nats and the weighted z-loss. Ids are [N]. */
export function meanLosses(
  parameters: readonly tf.Tensor[],
  inputs: tf.Tensor1D,
  targets: tf.Tensor1D,
  constants: Constants,
) {
  const { embedding, blocks, finalNorm } = named(parameters, constants.config)
  let x = tf.gather(embedding, inputs) // [N, d]
  for (const block of blocks) {
    x = tf.add(x, attention(layerNorm(x, block.inputNorm), block, constants))
    x = tf.add(x, feedForward(layerNorm(x, block.postNorm), block))
  }
  const logits = tf.matMul(layerNorm(x, finalNorm), embedding, false, true) // [N, V]
  const logSumExp = tf.logSumExp(logits, 1) // [N]
  const chosen = tf.cast(tf.oneHot(targets, constants.config.vocabSize), 'float32') // [N, V]
  const targetLogit = tf.sum(tf.mul(logits, chosen), 1) // [N]
  return {
    crossEntropy: tf.mean<tf.Scalar>(tf.sub(logSumExp, targetLogit)),
    zLoss: tf.mul<tf.Scalar>(tf.mean(tf.square(logSumExp)), Z_LOSS),
  }
}

/** x: any shape whose last axis is the gain's. */
function layerNorm(x: tf.Tensor, gain: tf.Tensor): tf.Tensor {
  const { mean, variance } = tf.moments(x, -1, true)
  return tf.mul(tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, LAYER_NORM_EPSILON))), gain)
}

/** x: [N, d] → [N, d] */
function attention(x: tf.Tensor, block: Block<tf.Tensor>, { config, mask, cos, sin }: Constants): tf.Tensor {
  const { sequenceLength, heads, headDim, dModel } = config
  const toHeads = (projected: tf.Tensor) =>
    tf.transpose(tf.reshape(projected, [-1, sequenceLength, heads, headDim]), [0, 2, 1, 3])
  const turned = (projected: tf.Tensor, gain: tf.Tensor) =>
    rotate(layerNorm(toHeads(projected), gain), cos, sin)
  const q = turned(tf.matMul(x, block.query), block.queryNorm) // [B, H, T, D]
  const k = turned(tf.matMul(x, block.key), block.keyNorm) // [B, H, T, D]
  const v = toHeads(tf.matMul(x, block.value)) // [B, H, T, D]
  const scores = tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(headDim)) // [B, H, T, T]
  const mixed = tf.matMul(tf.softmax(tf.add(scores, mask)), v) // [B, H, T, D]
  const merged = tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [-1, dModel]) // [N, d]
  return tf.matMul(merged, block.attentionOut)
}

/** x: [B, H, T, D] */
function rotate(x: tf.Tensor, cos: tf.Tensor, sin: tf.Tensor): tf.Tensor {
  const [left, right] = tf.split(x, 2, -1) as [tf.Tensor, tf.Tensor] // two were asked for
  return tf.add(tf.mul(x, cos), tf.mul(tf.concat([tf.neg(right), left], -1), sin))
}

/** x: [N, d] → [N, d] */
function feedForward(x: tf.Tensor, { gate, up, down }: Block<tf.Tensor>): tf.Tensor {
  const gated = tf.matMul(x, gate) // [N, h]
  const silu = tf.mul(gated, tf.sigmoid(gated))
  return tf.matMul(tf.mul(silu, tf.matMul(x, up)), down)
}
