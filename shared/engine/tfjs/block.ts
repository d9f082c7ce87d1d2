/**
 * One transformer block in its two halves, attention and SwiGLU, each forward and backward with its LayerNorm and
 * residual. Shapes stand at line ends: B sequences of T tokens, N = B·T rows, d = dModel, h = hidden, H = heads,
 * D = headDim. model.ts puts blocks together.
 */
import * as tf from '@tensorflow/tfjs-core'
import type { ModelConfig } from '../../model/config.ts'
import { type Attended, attention, attentionBackward, type Heads } from './attention.ts'
import type { Kernels, Normed, NormState, Rotation } from './kernels.ts'
import type { Block } from './parameters.ts'
import { fromHeads, toHeads } from './shapes.ts'

/** What depends on the configuration alone; made once per engine. */
export interface Constants {
  readonly config: ModelConfig
  readonly kernels: Kernels
  /** Added to the scores, [1, T, T]. */
  readonly mask: tf.Tensor3D
  /** Of the queries; carries the scores' factor 1/√D. */
  readonly queryRotation: Rotation
  readonly keyRotation: Rotation
  /** Elements of block states kept between the passes; with more, each block's forward pass is made again. */
  readonly mostKept: number
}

/** What the backward pass reads of a block's forward one. */
export type BlockState = { attention: AttentionState; feedForward: FeedForwardState }

type AttentionState = {
  readonly normed: Normed
  readonly queries: NormState
  readonly keys: NormState
  /** The first two normed and rotated, [B·H, T, D]. */
  readonly heads: Heads
  readonly attended: Attended
  readonly merged: tf.Tensor2D
}

type FeedForwardState = {
  readonly normed: Normed
  readonly gate: tf.Tensor2D
  readonly up: tf.Tensor2D
  readonly mixed: tf.Tensor2D
}

/** The block's output and the state for its backward pass. */
export function blockForward(
  x: tf.Tensor2D,
  block: Block,
  c: Constants,
): { y: tf.Tensor2D; state: BlockState } {
  return tf.tidy(() => {
    const lower = attentionForward(x, block, c)
    const upper = feedForward(lower.y, block, c)
    return { y: upper.y, state: { attention: lower.state, feedForward: upper.state } }
  })
}

export function blockBackward(dy: tf.Tensor2D, block: Block, state: BlockState, c: Constants) {
  return tf.tidy(() => {
    const upper = feedForwardBackward(dy, block, state.feedForward, c)
    const lower = attentionHalfBackward(upper.dx, block, state.attention, c)
    const gradients: Block = { ...lower.gradients, ...upper.gradients }
    return { dx: lower.dx, gradients }
  })
}

function attentionForward(
  x: tf.Tensor2D,
  block: Block,
  c: Constants,
): { y: tf.Tensor2D; state: AttentionState } {
  const { kernels, config } = c
  const normed = kernels.layerNorm(x, block.inputNorm) // [N, d]
  const qkv = kernels.product(normed.y, kernels.joinColumns([block.query, block.key, block.value])) // [N, 3d]
  const [q, k, v] = kernels.splitColumns(qkv, 3) // [N, d] each
  const queries = kernels.layerNorm(tf.reshape(q, [-1, config.headDim]), block.queryNorm) // [N·H, D]
  const keys = kernels.layerNorm(tf.reshape(k, [-1, config.headDim]), block.keyNorm) // [N·H, D]
  const heads: Heads = [
    kernels.rotate(toHeads(queries.y, config), c.queryRotation), // [B·H, T, D]
    kernels.rotate(toHeads(keys.y, config), c.keyRotation),
    toHeads(v, config),
  ]
  const attended = attention(kernels, heads, c.mask)
  const merged = fromHeads(attended.out, config) // [N, d]
  const y = tf.add<tf.Tensor2D>(x, kernels.product(merged, block.attentionOut)) // [N, d]
  return { y, state: { normed, queries: stateOf(queries), keys: stateOf(keys), heads, attended, merged } }
}

function attentionHalfBackward(dy: tf.Tensor2D, block: Block, s: AttentionState, c: Constants) {
  const { kernels, config } = c
  const dMerged = kernels.productWithTransposed(dy, block.attentionOut) // [N, d]
  const dOut = toHeads(dMerged, config) // [B·H, T, D]
  const { dq, dk, dv } = attentionBackward(kernels, dOut, s.heads, c.mask, s.attended.probabilities)
  const rows = (t: tf.Tensor3D) => tf.reshape<tf.Rank.R2>(fromHeads(t, config), [-1, config.headDim]) // [N·H, D]
  const turnedQ = rows(kernels.rotateBackward(dq, c.queryRotation))
  const turnedK = rows(kernels.rotateBackward(dk, c.keyRotation))
  const queries = kernels.layerNormBackward(turnedQ, s.queries, block.queryNorm) // [N·H, D]
  const keys = kernels.layerNormBackward(turnedK, s.keys, block.keyNorm)
  const wide = (t: tf.Tensor2D) => tf.reshape<tf.Rank.R2>(t, dy.shape) // [N, d]
  const dQkv = kernels.joinColumns([wide(queries.dx), wide(keys.dx), fromHeads(dv, config)]) // [N, 3d]
  const weights = kernels.joinColumns([block.query, block.key, block.value]) // [d, 3d]
  const input = kernels.layerNormBackward(
    kernels.productWithTransposed(dQkv, weights), // [N, d]
    s.normed,
    block.inputNorm,
  )
  const [query, key, value] = kernels.splitColumns(kernels.transposedProduct(s.normed.y, dQkv), 3) // [d, d] each
  const gradients = {
    inputNorm: input.dGain,
    query,
    key,
    value,
    queryNorm: queries.dGain,
    keyNorm: keys.dGain,
    attentionOut: kernels.transposedProduct(s.merged, dy), // [d, d]
  }
  return { dx: tf.add<tf.Tensor2D>(dy, input.dx), gradients }
}

/** Without y, so that its memory is freed. */
const stateOf = ({ unit, scale }: Normed): NormState => ({ unit, scale })

function feedForward(
  x: tf.Tensor2D,
  block: Block,
  { kernels }: Constants,
): { y: tf.Tensor2D; state: FeedForwardState } {
  const normed = kernels.layerNorm(x, block.postNorm) // [N, d]
  const both = kernels.product(normed.y, kernels.joinColumns([block.gate, block.up])) // [N, 2h]
  const [gate, up] = kernels.splitColumns(both, 2) // [N, h] each
  const mixed = kernels.gatedSilu(gate, up) // [N, h]
  const y = tf.add<tf.Tensor2D>(x, kernels.product(mixed, block.down)) // [N, d]
  return { y, state: { normed, gate, up, mixed } }
}

function feedForwardBackward(dy: tf.Tensor2D, block: Block, s: FeedForwardState, { kernels }: Constants) {
  const dMixed = kernels.productWithTransposed(dy, block.down) // [N, h]
  const { dGate, dUp } = kernels.gatedSiluBackward(dMixed, s.gate, s.up) // [N, h] each
  const dBoth = kernels.joinColumns([dGate, dUp]) // [N, 2h]
  const weights = kernels.joinColumns([block.gate, block.up]) // [d, 2h]
  const dNormed = kernels.productWithTransposed(dBoth, weights) // [N, d]
  const post = kernels.layerNormBackward(dNormed, s.normed, block.postNorm)
  const [gate, up] = kernels.splitColumns(kernels.transposedProduct(s.normed.y, dBoth), 2) // [d, h] each
  const down = kernels.transposedProduct(s.mixed, dy) // [h, d]
  return { dx: tf.add<tf.Tensor2D>(dy, post.dx), gradients: { postNorm: post.dGain, gate, up, down } }
}
