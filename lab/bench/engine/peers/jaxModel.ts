/**
 * The transformer in jax-js, forward only: `valueAndGrad` makes the backward pass and `jit` fuses it. Every
 * function takes ownership of the arrays it is given, as jax-js demands; `.ref` keeps one for another use. Shapes
 * stand at line ends: B sequences of T tokens, N = B·T rows, d = dModel, h = hidden, H = heads, D = headDim,
 * V = vocabSize.
 */
import { nn, numpy as np, scipySpecial } from '@jax-js/jax'
import { LAYER_NORM_EPSILON, type ModelConfig, Z_LOSS } from '../../../../shared/model/config.ts'
import { type Block, named } from './parameters.ts'

/** Ids, [N] each. */
export type Batch = {
  inputs: np.Array
  targets: np.Array
}

/** Depend on the configuration alone. */
export type Tables = {
  /** Of the rotary embedding, [T, D] each. */
  cos: np.Array
  sin: np.Array
}

/** Means over the tokens: the cross entropy in nats plus the weighted z-loss, and the cross entropy alone. */
export function meanLosses(
  parameters: np.Array[],
  { inputs, targets }: Batch,
  tables: Tables,
  config: ModelConfig,
): [np.Array, np.Array] {
  const { embedding, blocks, finalNorm } = named(parameters, config)
  let x = np.take(embedding.ref, inputs, 0) // [N, d]
  for (const block of blocks) {
    x = x.ref.add(attention(layerNorm(x, block.inputNorm), block, tables, config))
    x = x.ref.add(feedForward(layerNorm(x, block.postNorm), block))
  }
  tables.cos.dispose()
  tables.sin.dispose()
  const logits = np.matmul(layerNorm(x, finalNorm), embedding.transpose()) // [N, V]
  const logSumExp = scipySpecial.logsumexp(logits.ref, 1) // [N]
  // Fused into the sum; nn.oneHot would make a [V, V] identity and look its rows up.
  const chosen = targets.reshape([-1, 1]).equal(np.arange(config.vocabSize)) // [N, V]
  const targetLogit = np.where(chosen, logits, 0).sum(1) // [N]
  const crossEntropy = logSumExp.ref.sub(targetLogit).mean()
  const zLoss = np.square(logSumExp).mean().mul(Z_LOSS)
  return [crossEntropy.ref.add(zLoss), crossEntropy]
}

/** x: any shape whose last axis is the gain's. */
function layerNorm(x: np.Array, gain: np.Array): np.Array {
  const centred = x.ref.sub(x.mean(-1, { keepdims: true }))
  const variance = np.square(centred.ref).mean(-1, { keepdims: true })
  return centred.div(np.sqrt(variance.add(LAYER_NORM_EPSILON))).mul(gain)
}

/** x: [N, d] → [N, d] */
function attention(x: np.Array, block: Block<np.Array>, { cos, sin }: Tables, config: ModelConfig): np.Array {
  const { sequenceLength, heads, headDim, dModel } = config
  const toHeads = (projected: np.Array) =>
    projected.reshape([-1, sequenceLength, heads, headDim]).transpose([0, 2, 1, 3])
  const turned = (projected: np.Array, gain: np.Array) =>
    rotate(layerNorm(toHeads(projected), gain), cos.ref, sin.ref)
  const q = turned(np.matmul(x.ref, block.query), block.queryNorm) // [B, H, T, D]
  const k = turned(np.matmul(x.ref, block.key), block.keyNorm) // [B, H, T, D]
  const v = toHeads(np.matmul(x, block.value)) // [B, H, T, D]
  const scores = np.matmul(q, k.transpose([0, 1, 3, 2])).mul(1 / Math.sqrt(headDim)) // [B, H, T, T]
  const seen = np.tri(sequenceLength, sequenceLength, 0, { dtype: np.bool })
  const mixed = np.matmul(nn.softmax(np.where(seen, scores, -1e9), -1), v) // [B, H, T, D]
  const merged = mixed.transpose([0, 2, 1, 3]).reshape([-1, dModel]) // [N, d]
  return np.matmul(merged, block.attentionOut)
}

/** x: [B, H, T, D] */
function rotate(x: np.Array, cos: np.Array, sin: np.Array): np.Array {
  const [left, right] = np.split(x.ref, 2, -1) as [np.Array, np.Array] // two were asked for
  return x.mul(cos).add(np.concatenate([right.neg(), left], -1).mul(sin))
}

/** x: [N, d] → [N, d] */
function feedForward(x: np.Array, { gate, up, down }: Block<np.Array>): np.Array {
  const gated = nn.silu(np.matmul(x.ref, gate)) // [N, h]
  return np.matmul(gated.mul(np.matmul(x, up)), down)
}
