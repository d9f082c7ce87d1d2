/**
 * Causal softmax attention over heads that are already normed, rotated and scaled, forward and backward. The
 * [T, T] matrices are made for a few heads at a time, so that neither memory nor a backend's limits depend on
 * the batch; when they are large they are made again in the backward pass instead of being kept.
 */
import * as tf from '@tensorflow/tfjs-core'
import { headsAtOnce, keepsProbabilities } from './chunks.ts'
import type { Heads, Kernels } from './kernels.ts'

/** Far below any score, yet its sum with one is finite. */
const MASKED = -1e9

export type Attended = {
  /** [B·heads, T, headDim] */
  readonly out: tf.Tensor3D
  /** One tensor a chunk, or none when they are to be made again. */
  readonly probabilities: tf.Tensor3D[]
}

/** 0 where key ≤ query, very negative elsewhere; [1, T, T]. */
export function causalMask(length: number): tf.Tensor3D {
  const values = new Float32Array(length * length)
  for (let row = 0; row < length; row++) values.fill(MASKED, row * length + row + 1, (row + 1) * length)
  return tf.tensor3d(values, [1, length, length])
}

/** Queries carry the 1/√headDim already. */
export function attention(kernels: Kernels, [q, k, v]: Heads, mask: tf.Tensor3D): Attended {
  const length = q.shape[1]
  const keep = keepsProbabilities(q.shape[0], length)
  const probabilities: tf.Tensor3D[] = []
  const outs = chunks(q.shape[0], length).map(([from, size]) => {
    const p = softmaxScores(kernels, part(q, from, size), part(k, from, size), mask) // [heads, T, T]
    if (keep) probabilities.push(p)
    const out: tf.Tensor3D = kernels.products(p, part(v, from, size)) // [heads, T, headDim]
    if (!keep) p.dispose()
    return out
  })
  return { out: join(outs), probabilities }
}

export function attentionBackward(
  kernels: Kernels,
  dOut: tf.Tensor3D,
  [q, k, v]: Heads,
  mask: tf.Tensor3D,
  kept: readonly tf.Tensor3D[],
): Heads {
  const parts = chunks(q.shape[0], q.shape[1]).map(([from, size], i) =>
    tf.tidy(() => {
      const [qs, ks, vs] = [part(q, from, size), part(k, from, size), part(v, from, size)]
      const ds = part(dOut, from, size) // [heads, T, headDim]
      const p = kept[i] ?? softmaxScores(kernels, qs, ks, mask) // [heads, T, T]
      const dp = kernels.productsWithTransposed(ds, vs) // [heads, T, T]
      const dScores = kernels.softmaxBackward(dp, p) // [heads, T, T]
      dp.dispose()
      const slopes: Heads = [
        kernels.products(dScores, ks), // [heads, T, headDim]
        kernels.transposedProducts(dScores, qs),
        kernels.transposedProducts(p, ds),
      ]
      return slopes
    }),
  )
  return [join(parts.map(([dq]) => dq)), join(parts.map(([, dk]) => dk)), join(parts.map(([, , dv]) => dv))]
}

function softmaxScores(kernels: Kernels, q: tf.Tensor3D, k: tf.Tensor3D, mask: tf.Tensor3D): tf.Tensor3D {
  return tf.tidy(() => tf.softmax(tf.add<tf.Tensor3D>(kernels.productsWithTransposed(q, k), mask)))
}

/** [first head, number of heads] of each chunk. */
function chunks(heads: number, length: number): [number, number][] {
  const most = headsAtOnce(length)
  const list: [number, number][] = []
  for (let from = 0; from < heads; from += most) list.push([from, Math.min(most, heads - from)])
  return list
}

function part(x: tf.Tensor3D, from: number, size: number): tf.Tensor3D {
  return size === x.shape[0] ? x : tf.slice(x, [from, 0, 0], [size, -1, -1])
}

function join(parts: tf.Tensor3D[]): tf.Tensor3D {
  const [only] = parts
  return parts.length === 1 && only ? only : tf.concat(parts, 0)
}
