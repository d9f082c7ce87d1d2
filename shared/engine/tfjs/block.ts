/**
 * One transformer block in its two halves, attention and SwiGLU, each forward and backward with its LayerNorm and
 * residual. Shapes stand at line ends: B sequences of T tokens, N = B·T rows, d = dModel, h = hidden, H = heads,
 * D = headDim. model.ts puts blocks together.
 */
import * as tf from '@tensorflow/tfjs-core'
import type { ModelConfig } from '../../model/config.ts'
import { type Attended, attention, attentionBackward } from './attention.ts'
import type { HeadGains, HeadsState, HeadTables, Kernels, Normed } from './kernels.ts'
import type { Block } from './parameters.ts'

/** What depends on the configuration alone; made once per engine. */
export interface Constants {
  readonly config: ModelConfig
  readonly kernels: Kernels
  /** Added to the scores, [1, T, T]. */
  readonly mask: tf.Tensor3D
  readonly tables: HeadTables
  /** Elements of block states kept between the passes; with more, each block's forward pass is made again. */
  readonly mostKept: number | undefined
}

/** What the backward pass reads of a block's forward one. */
export type BlockState = { attention: AttentionState; feedForward: FeedForwardState }

type AttentionState = {
  readonly normed: Normed
  readonly split: HeadsState
  readonly attended: Attended
  readonly merged: tf.Tensor2D
}

type FeedForwardState = {
  readonly normed: Normed
  /** Gate and up side by side, [N, 2h]. */
  readonly both: tf.Tensor2D
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

const gainsOf = ({ queryNorm, keyNorm }: Block): HeadGains => ({ query: queryNorm, key: keyNorm })

function attentionForward(
  x: tf.Tensor2D,
  block: Block,
  c: Constants,
): { y: tf.Tensor2D; state: AttentionState } {
  const { kernels, config } = c
  const normed = kernels.layerNorm(x, block.inputNorm) // [N, d]
  const split = tf.tidy(() => {
    const qkv = kernels.product(normed.y, kernels.joinColumns([block.query, block.key, block.value])) // [N, 3d]
    return kernels.splitHeads(qkv, gainsOf(block), c.tables) // [B·H, T, D] each
  })
  const attended = attention(kernels, split.heads, c.mask)
  const merged = kernels.mergeHeads(attended.out, config.heads) // [N, d]
  const y = added(x, kernels.product(merged, block.attentionOut)) // [N, d]
  return { y, state: { normed, split, attended, merged } }
}

function attentionHalfBackward(dy: tf.Tensor2D, block: Block, s: AttentionState, c: Constants) {
  const { kernels, config } = c
  const attentionOut = kernels.transposedProduct(s.merged, dy) // [d, d]
  const { dQkv, dQuery, dKey } = tf.tidy(() => {
    const dMerged = kernels.productWithTransposed(dy, block.attentionOut) // [N, d]
    const dOut = kernels.mergeHeadsBackward(dMerged, config.heads, config.sequenceLength) // [B·H, T, D]
    dMerged.dispose()
    const dHeads = attentionBackward(kernels, dOut, s.split.heads, c.mask, s.attended.probabilities)
    return kernels.splitHeadsBackward(dHeads, s.split, gainsOf(block), c.tables) // [N, 3d]
  })
  const [query, key, value] = tf.tidy(
    () => kernels.splitColumns(kernels.transposedProduct(s.normed.y, dQkv), 3) as Three, // [d, d] each
  )
  const input = tf.tidy(() => {
    const weights = kernels.joinColumns([block.query, block.key, block.value]) // [d, 3d]
    return kernels.layerNormBackward(
      kernels.productWithTransposed(dQkv, weights), // [N, d]
      s.normed,
      block.inputNorm,
    )
  })
  const gradients = {
    inputNorm: input.dGain,
    query,
    key,
    value,
    queryNorm: dQuery,
    keyNorm: dKey,
    attentionOut,
  }
  return { dx: added(input.dx, dy), gradients }
}

/** What splitColumns gives when asked for three, or for two. */
type Three = [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D]
type Two = [tf.Tensor2D, tf.Tensor2D]

function feedForward(
  x: tf.Tensor2D,
  block: Block,
  { kernels }: Constants,
): { y: tf.Tensor2D; state: FeedForwardState } {
  const normed = kernels.layerNorm(x, block.postNorm) // [N, d]
  const both = kernels.product(normed.y, kernels.joinColumns([block.gate, block.up])) // [N, 2h]
  const mixed = kernels.gatedSilu(both) // [N, h]
  const y = added(x, kernels.product(mixed, block.down)) // [N, d]
  return { y, state: { normed, both, mixed } }
}

function feedForwardBackward(dy: tf.Tensor2D, block: Block, s: FeedForwardState, { kernels }: Constants) {
  const down = kernels.transposedProduct(s.mixed, dy) // [h, d]
  const dBoth = tf.tidy(() =>
    kernels.gatedSiluBackward(kernels.productWithTransposed(dy, block.down), s.both),
  ) // [N, 2h]
  const [gate, up] = tf.tidy(
    () => kernels.splitColumns(kernels.transposedProduct(s.normed.y, dBoth), 2) as Two, // [d, h] each
  )
  const post = tf.tidy(() => {
    const weights = kernels.joinColumns([block.gate, block.up]) // [d, 2h]
    return kernels.layerNormBackward(
      kernels.productWithTransposed(dBoth, weights), // [N, d]
      s.normed,
      block.postNorm,
    )
  })
  dBoth.dispose()
  return { dx: added(dy, post.dx), gradients: { postNorm: post.dGain, gate, up, down } }
}

const added = (a: tf.Tensor2D, b: tf.Tensor2D) => tf.add<tf.Tensor2D>(a, b)
