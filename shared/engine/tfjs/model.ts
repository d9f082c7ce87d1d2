/**
 * The decoder-only transformer: forward, backward, and the two uses of them (loss with gradients, and hidden
 * states alone). Shapes stand at line ends: B sequences of T tokens, N = B·T rows, d = dModel, h = hidden,
 * H = heads, D = headDim. What a piece computes is in ops.ts, attention.ts and loss.ts; here is only the order.
 */
import * as tf from '@tensorflow/tfjs-core'
import type { ModelConfig } from '../../model/config.ts'
import { type Attended, attention, attentionBackward, causalMask } from './attention.ts'
import { type LossAndGradients, lossAndGradients } from './loss.ts'
import {
  gatedSilu,
  gatedSiluBackward,
  layerNorm,
  layerNormBackward,
  type Normed,
  product,
  productWithTransposed,
  type Rotation,
  rotate,
  rotateBackward,
  sumByIds,
  transposedProduct,
} from './ops.ts'
import { type Block, flat, named, type Parameters } from './parameters.ts'
import { besides, fromHeads, rotationTables, splitColumns, toHeads } from './shapes.ts'

/** What depends on the configuration alone; made once per engine. */
export interface Constants {
  readonly config: ModelConfig
  readonly mask: tf.Tensor3D
  /** Of the queries; carries the scores' factor 1/√D. */
  readonly queryRotation: Rotation
  readonly keyRotation: Rotation
}

/** One batch on the device. */
export interface Batch {
  /** Token ids, [N]. */
  readonly inputs: tf.Tensor1D
  /** The id that follows each, [N]. */
  readonly targets: tf.Tensor1D
}

export function makeConstants(config: ModelConfig): Constants {
  return {
    config,
    mask: causalMask(config.sequenceLength),
    queryRotation: rotationTables(config, 1 / Math.sqrt(config.headDim)),
    keyRotation: rotationTables(config, 1),
  }
}

export function disposeConstants({ mask, queryRotation, keyRotation }: Constants): void {
  tf.dispose([mask, queryRotation.cos, queryRotation.sin, keyRotation.cos, keyRotation.sin])
}

/** Mean cross entropy and the gradient of it plus z-loss for every parameter, in layout order. */
export function trainingPass(tensors: readonly tf.Tensor[], batch: Batch, constants: Constants) {
  const parameters = named(tensors, constants.config)
  const states: BlockState[] = []
  let x = tf.gather(parameters.embedding, batch.inputs) // [N, d]
  for (const block of parameters.blocks) {
    const state: BlockState = tf.tidy(() => blockForward(x, block, constants))
    states.push(state)
    x = state.y
  }
  const last = layerNorm(x, parameters.finalNorm) // [N, d]
  const top = lossAndGradients(last.y, parameters.embedding, batch.targets)
  return { loss: top.loss, gradients: flat(backward(parameters, states, last, top, batch, constants)) }
}

function backward(
  parameters: Parameters,
  states: BlockState[],
  last: Normed,
  top: LossAndGradients,
  batch: Batch,
  constants: Constants,
): Parameters {
  const final = layerNormBackward(top.dx, last, parameters.finalNorm)
  let dx = final.dx // [N, d]
  const blocks: Block[] = []
  for (let layer = states.length - 1; layer >= 0; layer--) {
    const [block, state] = [parameters.blocks[layer], states[layer]]
    if (!block || !state) throw new Error('internal: a block without its state')
    const below = tf.tidy(() => blockBackward(dx, block, state, constants))
    tf.dispose(state)
    dx.dispose()
    dx = below.dx
    blocks.unshift(below.gradients)
  }
  const looked = sumByIds(dx, batch.inputs, constants.config.vocabSize) // [V, d]
  return { embedding: tf.add(top.dEmbedding, looked), blocks, finalNorm: final.dGain }
}

/** The hidden states that the output layer reads, [N, d]. */
export function hiddenStates(
  tensors: readonly tf.Tensor[],
  inputs: tf.Tensor1D,
  constants: Constants,
): tf.Tensor2D {
  return tf.tidy(() => {
    const { embedding, blocks, finalNorm } = named(tensors, constants.config)
    let x = tf.gather(embedding, inputs) // [N, d]
    for (const block of blocks) x = tf.tidy(() => blockForward(x, block, constants).y)
    return layerNorm(x, finalNorm).y
  })
}

/** What a block's backward pass reads. */
type BlockState = {
  readonly normed: Normed
  readonly queries: Normed
  readonly keys: Normed
  /** Rotated queries and keys, and values, each [B·H, T, D]. */
  readonly heads: [tf.Tensor3D, tf.Tensor3D, tf.Tensor3D]
  readonly attended: Attended
  readonly merged: tf.Tensor2D
  readonly postNormed: Normed
  readonly gate: tf.Tensor2D
  readonly up: tf.Tensor2D
  readonly mixed: tf.Tensor2D
  readonly y: tf.Tensor2D
}

function blockForward(x: tf.Tensor2D, block: Block, c: Constants): BlockState {
  const { headDim } = c.config
  const normed = layerNorm(x, block.inputNorm) // [N, d]
  const [q, k, v] = splitColumns(product(normed.y, besides(block.query, block.key, block.value)), 3) // [N, d] each
  const queries = layerNorm(tf.reshape(q, [-1, headDim]), block.queryNorm) // [N·H, D]
  const keys = layerNorm(tf.reshape(k, [-1, headDim]), block.keyNorm)
  const apart = (t: tf.Tensor2D) => toHeads(t, c.config) // [B·H, T, D]
  const rotated: BlockState['heads'] = [
    rotate(apart(queries.y), c.queryRotation),
    rotate(apart(keys.y), c.keyRotation),
    apart(v),
  ]
  const attended = attention(...rotated, c.mask)
  const merged = fromHeads(attended.out, c.config) // [N, d]
  const middle = tf.add<tf.Tensor2D>(x, product(merged, block.attentionOut)) // [N, d]
  const postNormed = layerNorm(middle, block.postNorm)
  const [gate, up] = splitColumns(product(postNormed.y, besides(block.gate, block.up)), 2) // [N, h] each
  const mixed = gatedSilu(gate, up) // [N, h]
  const y = tf.add<tf.Tensor2D>(middle, product(mixed, block.down)) // [N, d]
  return { normed, queries, keys, heads: rotated, attended, merged, postNormed, gate, up, mixed, y }
}

function blockBackward(dy: tf.Tensor2D, block: Block, s: BlockState, c: Constants) {
  const { headDim } = c.config
  // SwiGLU and its residual
  const { dGate, dUp } = gatedSiluBackward(productWithTransposed(dy, block.down), s.gate, s.up) // [N, h]
  const dGateUp = tf.concat([dGate, dUp], 1) // [N, 2h]
  const dPost = productWithTransposed(dGateUp, besides(block.gate, block.up)) // [N, d]
  const [gate, up] = splitColumns(transposedProduct(s.postNormed.y, dGateUp), 2) // [d, h] each
  const post = layerNormBackward(dPost, s.postNormed, block.postNorm)
  const dMiddle = tf.add<tf.Tensor2D>(dy, post.dx) // [N, d]
  // attention and its residual
  const dMerged = productWithTransposed(dMiddle, block.attentionOut) // [N, d]
  const apart = (t: tf.Tensor2D) => toHeads(t, c.config) // [B·H, T, D]
  const together = (t: tf.Tensor3D) => fromHeads(t, c.config) // [N, d]
  const { dq, dk, dv } = attentionBackward(apart(dMerged), s.heads, c.mask, s.attended.probabilities)
  const rows = (t: tf.Tensor3D) => tf.reshape<tf.Rank.R2>(together(t), [-1, headDim]) // [N·H, D]
  const queries = layerNormBackward(rows(rotateBackward(dq, c.queryRotation)), s.queries, block.queryNorm)
  const keys = layerNormBackward(rows(rotateBackward(dk, c.keyRotation)), s.keys, block.keyNorm)
  const flatten = (t: tf.Tensor2D) => tf.reshape<tf.Rank.R2>(t, dy.shape)
  const dHeads = tf.concat([flatten(queries.dx), flatten(keys.dx), together(dv)], 1) // [N, 3d]
  const dNormed = productWithTransposed(dHeads, besides(block.query, block.key, block.value)) // [N, d]
  const [query, key, value] = splitColumns(transposedProduct(s.normed.y, dHeads), 3) // [d, d] each
  const input = layerNormBackward(dNormed, s.normed, block.inputNorm)
  const gradients: Block = {
    inputNorm: input.dGain,
    query,
    key,
    value,
    queryNorm: queries.dGain,
    keyNorm: keys.dGain,
    attentionOut: transposedProduct(s.merged, dMiddle),
    postNorm: post.dGain,
    gate,
    up,
    down: transposedProduct(s.mixed, dy),
  }
  return { dx: tf.add<tf.Tensor2D>(dMiddle, input.dx), gradients }
}
