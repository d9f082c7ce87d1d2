/**
 * The differentiable pieces of the model that know nothing of it, each as a forward function and the backward
 * one beside it. Two implementations: plainKernels.ts in TensorFlow.js operations, right on every backend, and
 * heapKernels.ts for what its wasm backend lacks or does slowly. There is no gradient tape: model.ts calls the
 * backward functions itself, last first, which keeps memory and operations in sight.
 */
import type * as tf from '@tensorflow/tfjs-core'

/** What a LayerNorm's backward pass reads. */
export type NormState = {
  /** (x − mean)/deviation, before the gain. */
  readonly unit: tf.Tensor2D
  /** 1/deviation of each row, [rows, 1]. */
  readonly scale: tf.Tensor2D
}

export type Normed = NormState & { readonly y: tf.Tensor2D }

/** Tables of the rotary embedding for one sequence; a row is a position. */
export type Rotation = {
  /** cos, twice side by side, [T, D]. */
  readonly cos: tf.Tensor2D
  /** −sin and sin side by side, [T, D]. */
  readonly sin: tf.Tensor2D
}

/** Queries, keys and values, each [B·H, T, D]. */
export type Heads = [tf.Tensor3D, tf.Tensor3D, tf.Tensor3D]

/** The gains of the LayerNorms on queries and on keys, [D]. */
export interface HeadGains {
  readonly query: tf.Tensor1D
  readonly key: tf.Tensor1D
}

/** What splitting needs of the configuration. */
export interface HeadTables {
  /** H */
  readonly heads: number
  /** The queries' rotation carries the scores' factor 1/√D. */
  readonly query: Rotation
  readonly key: Rotation
}

export type HeadsState = {
  readonly heads: Heads
  /** Rows [N·H, D]. */
  readonly query: NormState
  readonly key: NormState
}

export interface Kernels {
  /** a·b */
  product(a: tf.Tensor2D, b: tf.Tensor2D): tf.Tensor2D
  /** a·bᵀ */
  productWithTransposed(a: tf.Tensor2D, b: tf.Tensor2D): tf.Tensor2D
  /** aᵀ·b */
  transposedProduct(a: tf.Tensor2D, b: tf.Tensor2D): tf.Tensor2D
  /** a[i]·b[i] for every i: [G, m, k] and [G, k, n] → [G, m, n] */
  products(a: tf.Tensor3D, b: tf.Tensor3D): tf.Tensor3D
  /** a[i]·b[i]ᵀ: [G, m, k] and [G, n, k] → [G, m, n] */
  productsWithTransposed(a: tf.Tensor3D, b: tf.Tensor3D): tf.Tensor3D
  /** a[i]ᵀ·b[i]: [G, k, m] and [G, k, n] → [G, m, n] */
  transposedProducts(a: tf.Tensor3D, b: tf.Tensor3D): tf.Tensor3D

  /** Each row to mean 0 and deviation 1, times the gain; no bias. */
  layerNorm(x: tf.Tensor2D, gain: tf.Tensor1D): Normed
  layerNormBackward(
    dy: tf.Tensor2D,
    kept: NormState,
    gain: tf.Tensor1D,
  ): { dx: tf.Tensor2D; dGain: tf.Tensor1D }

  /** silu(gate)·up, the middle of SwiGLU; `both` is gate and up side by side, [N, 2h] → [N, h]. */
  gatedSilu(both: tf.Tensor2D): tf.Tensor2D
  /** [N, h] → [N, 2h] */
  gatedSiluBackward(dy: tf.Tensor2D, both: tf.Tensor2D): tf.Tensor2D

  /** Queries, keys and values side by side, [N, 3d], to heads: the first two LayerNormed per head and rotated. */
  splitHeads(qkv: tf.Tensor2D, gains: HeadGains, tables: HeadTables): HeadsState
  splitHeadsBackward(
    dHeads: Heads,
    state: HeadsState,
    gains: HeadGains,
    tables: HeadTables,
  ): { dQkv: tf.Tensor2D; dQuery: tf.Tensor1D; dKey: tf.Tensor1D }
  /** [B·H, T, D] → [N, d] */
  mergeHeads(x: tf.Tensor3D, heads: number): tf.Tensor2D
  /** [N, d] → [B·H, T, D] */
  mergeHeadsBackward(dy: tf.Tensor2D, heads: number, length: number): tf.Tensor3D

  /** Gradient of a softmax over the last axis: p·(dp − Σ dp·p). */
  softmaxBackward(dp: tf.Tensor3D, p: tf.Tensor3D): tf.Tensor3D

  /** Row ids[n] of the table for every n. */
  rowsOf(table: tf.Tensor2D, ids: tf.Tensor1D): tf.Tensor2D
  /** Its gradient: adds row n of `rows` to row ids[n] of a [count, width] tensor of zeros. */
  sumByIds(rows: tf.Tensor2D, ids: tf.Tensor1D, count: number): tf.Tensor2D

  /** Matrices side by side: one wide product is faster than several narrow ones. */
  joinColumns(parts: tf.Tensor2D[]): tf.Tensor2D
  /** `count` matrices of equal width out of one. */
  splitColumns(x: tf.Tensor2D, count: number): tf.Tensor2D[]
}
