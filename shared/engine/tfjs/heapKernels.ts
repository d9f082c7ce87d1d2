/**
 * The kernels for the wasm backend, where what TensorFlow.js has is missing or slow: products with a transposed
 * operand or in batches (plain loops instead of XNNPACK), splits (57 ns an element), gathers (40 ns), and small
 * operations in long chains. Loops in JavaScript on the backend's memory take 1 to 3 ns an element. Heads are in
 * heapHeads.ts; the rest is plainKernels.ts's. Indices are in range by construction; `as number` in the loops says
 * only that.
 */
import * as tf from '@tensorflow/tfjs-core'
import { LAYER_NORM_EPSILON } from '../../model/config.ts'
import { transposesWide } from './chunks.ts'
import { mergeHeads, mergeHeadsBackward, splitHeads, splitHeadsBackward } from './heapHeads.ts'
import type { Kernels, Normed, NormState } from './kernels.ts'
import { plainKernels } from './plainKernels.ts'
import { floats, integers, output, productsOneByOne } from './wasmMemory.ts'

export const heapKernels: Kernels = {
  ...plainKernels,
  productWithTransposed: (a, b) => tf.tidy(() => tf.matMul(a, transposed(b))),
  transposedProduct: (a, b) => tf.tidy(() => transposedProduct(a, b)),
  products: productsOneByOne,
  productsWithTransposed: (a, b) => tf.tidy(() => productsOneByOne(a, swapLast(b))),
  transposedProducts: (a, b) => tf.tidy(() => productsOneByOne(swapLast(a), b)),
  layerNorm,
  layerNormBackward,
  gatedSilu,
  gatedSiluBackward,
  splitHeads,
  splitHeadsBackward,
  mergeHeads,
  mergeHeadsBackward,
  softmaxBackward,
  rowsOf,
  sumByIds,
  splitColumns,
  joinColumns,
}

/**
 * Transposes the narrower operand, or for the wider one the small result. Only a large `a` as wide as a vocabulary is
 * cheaper to transpose than to let XNNPACK pack it.
 */
function transposedProduct(a: tf.Tensor2D, b: tf.Tensor2D): tf.Tensor2D {
  const [rows, columns] = a.shape
  const wide = columns >= 8 * b.shape[1] && transposesWide(rows, columns)
  if (wide || columns <= b.shape[1]) return tf.matMul(transposed(a), b)
  return transposed(tf.matMul(transposed(b), a))
}

/** By tiles that stay in the cache; the backend's own goes column by column. */
function transposed(x: tf.Tensor2D): tf.Tensor2D {
  const [rows, columns] = x.shape
  const result = output<tf.Rank.R2>([columns, rows])
  transposeInto(floats(result), floats(x), rows, columns)
  return result
}

function swapLast(x: tf.Tensor3D): tf.Tensor3D {
  const [count, rows, columns] = x.shape
  const result = output<tf.Rank.R3>([count, columns, rows])
  const [to, from] = [floats(result), floats(x)]
  for (let at = 0; at < from.length; at += rows * columns) {
    transposeInto(to.subarray(at, at + rows * columns), from.subarray(at, at + rows * columns), rows, columns)
  }
  return result
}

/** Rows of a power of two of columns share a set of the cache, which holds eight. */
const TILE = 8

function transposeInto(to: Float32Array, from: Float32Array, rows: number, columns: number): void {
  for (let top = 0; top < rows; top += TILE) {
    const bottom = Math.min(rows, top + TILE)
    for (let left = 0; left < columns; left += TILE) {
      const right = Math.min(columns, left + TILE)
      for (let j = left; j < right; j++) {
        for (let i = top; i < bottom; i++) to[j * rows + i] = from[i * columns + j] as number
      }
    }
  }
}

function layerNorm(x: tf.Tensor2D, gain: tf.Tensor1D): Normed {
  const [rows, n] = x.shape
  const normed = {
    y: output<tf.Rank.R2>([rows, n]),
    unit: output<tf.Rank.R2>([rows, n]),
    scale: output<tf.Rank.R2>([rows, 1]),
  }
  const [y, unit, scale] = [floats(normed.y), floats(normed.unit), floats(normed.scale)]
  const [from, g] = [floats(x), floats(gain)]
  for (let row = 0, at = 0; row < rows; row++, at += n) {
    let [sum, squares] = [0, 0]
    for (let i = at; i < at + n; i++) sum += from[i] as number
    const mean = sum / n
    for (let i = at; i < at + n; i++) {
      const centred = (from[i] as number) - mean
      squares += centred * centred
    }
    const s = 1 / Math.sqrt(squares / n + LAYER_NORM_EPSILON)
    scale[row] = s
    for (let i = 0; i < n; i++) {
      const u = ((from[at + i] as number) - mean) * s
      unit[at + i] = u
      y[at + i] = u * (g[i] as number)
    }
  }
  return normed
}

function layerNormBackward(dy: tf.Tensor2D, kept: NormState, gain: tf.Tensor1D) {
  const [rows, n] = dy.shape
  const result = { dx: output<tf.Rank.R2>([rows, n]), dGain: output<tf.Rank.R1>([n]) }
  const [dx, from, unit] = [floats(result.dx), floats(dy), floats(kept.unit)]
  const [scale, g, dGain] = [floats(kept.scale), floats(gain), new Float64Array(n)]
  for (let row = 0, at = 0; row < rows; row++, at += n) {
    let [sum, along] = [0, 0]
    for (let i = 0; i < n; i++) {
      const d = from[at + i] as number
      const u = unit[at + i] as number
      const du = d * (g[i] as number)
      dGain[i] = (dGain[i] as number) + d * u
      sum += du
      along += du * u
    }
    const [mean, part, s] = [sum / n, along / n, scale[row] as number]
    for (let i = 0; i < n; i++) {
      const du = (from[at + i] as number) * (g[i] as number)
      dx[at + i] = (du - mean - (unit[at + i] as number) * part) * s
    }
  }
  floats(result.dGain).set(dGain)
  return result
}

/** The backend's sigmoid is vectorised, which a loop with Math.exp is not; it is taken of both halves at once. */
function gatedSilu(both: tf.Tensor2D): tf.Tensor2D {
  const [rows, columns] = both.shape
  const n = columns / 2
  const result = output<tf.Rank.R2>([rows, n])
  const sigmoids = tf.sigmoid(both)
  const [to, from, sigmoid] = [floats(result), floats(both), floats(sigmoids)]
  for (let row = 0; row < rows; row++) {
    const [y, gate] = [row * n, row * columns]
    for (let i = 0; i < n; i++) {
      to[y + i] = (from[gate + i] as number) * (sigmoid[gate + i] as number) * (from[gate + n + i] as number)
    }
  }
  sigmoids.dispose()
  return result
}

function gatedSiluBackward(dy: tf.Tensor2D, both: tf.Tensor2D): tf.Tensor2D {
  const [rows, n] = dy.shape
  const result = output<tf.Rank.R2>([rows, 2 * n])
  const sigmoids = tf.sigmoid(both)
  const [to, from, d, sigmoid] = [floats(result), floats(both), floats(dy), floats(sigmoids)]
  for (let row = 0; row < rows; row++) {
    const [y, gate] = [row * n, row * 2 * n]
    for (let i = 0; i < n; i++) {
      const s = sigmoid[gate + i] as number
      const slope = d[y + i] as number
      const silu = (from[gate + i] as number) * s
      to[gate + i] = slope * (from[gate + n + i] as number) * (s + silu * (1 - s)) // silu' = σ + silu·(1 − σ)
      to[gate + n + i] = slope * silu
    }
  }
  sigmoids.dispose()
  return result
}

function softmaxBackward(dp: tf.Tensor3D, p: tf.Tensor3D): tf.Tensor3D {
  const result = output<tf.Rank.R3>(p.shape)
  const n = p.shape[2]
  const [to, slope, from] = [floats(result), floats(dp), floats(p)]
  for (let at = 0; at < to.length; at += n) {
    let sum = 0
    for (let i = at; i < at + n; i++) sum += (slope[i] as number) * (from[i] as number)
    for (let i = at; i < at + n; i++) to[i] = (from[i] as number) * ((slope[i] as number) - sum)
  }
  return result
}

function rowsOf(table: tf.Tensor2D, ids: tf.Tensor1D): tf.Tensor2D {
  const width = table.shape[1]
  const result = output<tf.Rank.R2>([ids.size, width])
  const [to, from] = [floats(result), floats(table)]
  integers(ids).forEach((id, n) => {
    for (let i = 0; i < width; i++) to[n * width + i] = from[id * width + i] as number
  })
  return result
}

function sumByIds(rows: tf.Tensor2D, ids: tf.Tensor1D, count: number): tf.Tensor2D {
  const width = rows.shape[1]
  const result = output<tf.Rank.R2>([count, width])
  const [sum, from] = [floats(result).fill(0), floats(rows)]
  integers(ids).forEach((id, n) => {
    const at = id * width
    for (let i = 0; i < width; i++) sum[at + i] = (sum[at + i] as number) + (from[n * width + i] as number)
  })
  return result
}

function splitColumns(x: tf.Tensor2D, count: number): tf.Tensor2D[] {
  const [rows, all] = x.shape
  const width = all / count
  const parts = Array.from({ length: count }, () => output<tf.Rank.R2>([rows, width]))
  const from = floats(x)
  for (const [p, part] of parts.entries()) copyColumns(floats(part), 0, width, from, p * width, all, width)
  return parts
}

function joinColumns(parts: tf.Tensor2D[]): tf.Tensor2D {
  const all = parts.reduce((sum, part) => sum + part.shape[1], 0)
  const result = output<tf.Rank.R2>([parts[0]?.shape[0] ?? 0, all])
  let offset = 0
  for (const part of parts) {
    const width = part.shape[1]
    copyColumns(floats(result), offset, all, floats(part), 0, width, width)
    offset += width
  }
  return result
}

/** `width` columns of every row; each matrix is given with its first column and its row length. */
function copyColumns(
  to: Float32Array,
  toFirst: number,
  toLength: number,
  from: Float32Array,
  fromFirst: number,
  fromLength: number,
  width: number,
): void {
  for (let t = toFirst, f = fromFirst; f < from.length; t += toLength, f += fromLength) {
    to.set(from.subarray(f, f + width), t)
  }
}
