/**
 * The tied output layer and its loss in one: logits = x·Eᵀ, mean cross entropy plus z-loss, and the gradients,
 * made together a chunk of rows at a time so that the [rows, vocabulary] matrix exists once and only for the
 * chunk. No one-hot matrix is ever made: the target's share of every gradient is a gather or a scatter of
 * [rows, d]. (A float one-hot would also be wrong on wasm, which writes integer bits into it.)
 */
import * as tf from '@tensorflow/tfjs-core'
import { Z_LOSS } from '../../model/config.ts'
import { rowsAtOnce } from './chunks.ts'
import type { Kernels } from './kernels.ts'

export interface LossAndGradients {
  /** Cross entropy in nats, summed over the rows and divided by `total`, a scalar; without the z-loss. */
  readonly loss: tf.Scalar
  readonly dx: tf.Tensor2D
  readonly dEmbedding: tf.Tensor2D
}

interface Rows {
  readonly x: tf.Tensor2D
  readonly targets: tf.Tensor1D
}

/**
 * x: [rows, d] after the final norm; embedding: [vocabulary, d]; targets: [rows]. `total` is the number of rows the
 * loss is a mean over, these and those of the batch's other parts; the gradients add up over the parts.
 */
export function lossAndGradients(
  kernels: Kernels,
  x: tf.Tensor2D,
  embedding: tf.Tensor2D,
  targets: tf.Tensor1D,
  total: number,
): LossAndGradients {
  const sums: Sums[] = []
  const dxs = chunksOf({ x, targets }, embedding.shape[0]).map((rows) => {
    const { loss, dx, dEmbedding } = chunkGradients(kernels, rows, embedding, total)
    sums.push(addUp({ loss, dEmbedding }, sums.pop()))
    return dx
  })
  const [sum] = sums
  if (!sum) throw new Error('internal: a batch without rows')
  return { ...sum, dx: dxs.length === 1 && dxs[0] ? dxs[0] : tf.concat(dxs) }
}

/** Cross entropy of every row in nats, [rows]. */
export function crossEntropies(
  kernels: Kernels,
  x: tf.Tensor2D,
  embedding: tf.Tensor2D,
  targets: tf.Tensor1D,
): tf.Tensor1D {
  const parts = chunksOf({ x, targets }, embedding.shape[0]).map((rows) =>
    tf.tidy(() => forward(kernels, rows, embedding).crossEntropy),
  )
  return tf.concat(parts)
}

function forward(kernels: Kernels, { x, targets }: Rows, embedding: tf.Tensor2D) {
  const logits = kernels.productWithTransposed(x, embedding) // [rows, V]
  const p = tf.softmax(logits) // [rows, V]
  // The likeliest probability is at least 1/V, so its logarithm is safe where the target's may be −∞.
  const logSumExp = tf.sub<tf.Tensor1D>(tf.max(logits, 1), tf.log(tf.max(p, 1))) // [rows]
  logits.dispose()
  const chosen = kernels.rowsOf(embedding, targets) // [rows, d]
  const targetLogit = tf.sum(tf.mul(x, chosen), 1) // [rows]
  return { p, logSumExp, chosen, crossEntropy: tf.sub<tf.Tensor1D>(logSumExp, targetLogit) }
}

/**
 * dlogits = (p·(1 + 2·z·logsumexp) − onehot(target)) / total. The factor of a row is applied on the side of width
 * d, not on that of width V.
 */
function chunkGradients(kernels: Kernels, { x, targets }: Rows, embedding: tf.Tensor2D, total: number) {
  return tf.tidy(() => {
    const { p, logSumExp, chosen, crossEntropy } = forward(kernels, { x, targets }, embedding)
    const factor = tf.expandDims(tf.add(tf.mul(logSumExp, (2 * Z_LOSS) / total), 1 / total), 1) // [rows, 1]
    const dx = tf.sub<tf.Tensor2D>(tf.mul(kernels.product(p, embedding), factor), tf.mul(chosen, 1 / total)) // [rows, d]
    const towards = kernels.sumByIds(tf.mul<tf.Tensor2D>(x, 1 / total), targets, embedding.shape[0]) // [V, d]
    const away = kernels.transposedProduct(p, tf.mul<tf.Tensor2D>(x, factor)) // [V, d]
    const loss = tf.mul<tf.Scalar>(tf.sum(crossEntropy), 1 / total)
    return { loss, dx, dEmbedding: tf.sub<tf.Tensor2D>(away, towards) }
  })
}

function chunksOf({ x, targets }: Rows, vocabulary: number): Rows[] {
  const total = x.shape[0]
  const most = rowsAtOnce(vocabulary)
  if (total <= most) return [{ x, targets }]
  const list: Rows[] = []
  for (let from = 0; from < total; from += most) {
    const size = Math.min(most, total - from)
    list.push({ x: tf.slice(x, [from, 0], [size, -1]), targets: tf.slice(targets, from, size) })
  }
  return list
}

type Sums = { loss: tf.Scalar; dEmbedding: tf.Tensor2D }

/** Chunk by chunk: [V, d] is large, and webgpu's AddN is silently wrong above seven inputs anyway. */
function addUp(next: Sums, before: Sums | undefined): Sums {
  if (before === undefined) return next
  const sum = {
    loss: tf.add<tf.Scalar>(before.loss, next.loss),
    dEmbedding: tf.add<tf.Tensor2D>(before.dEmbedding, next.dEmbedding),
  }
  tf.dispose([before, next])
  return sum
}
