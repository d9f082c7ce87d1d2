/**
 * The kernels for the wasm backend, where what TensorFlow.js has is missing or slow: products with a transposed
 * operand or in batches (plain loops instead of XNNPACK), splits (57 ns an element), gathers (40 ns), and small
 * operations in long chains. Loops in JavaScript on the backend's memory take 1 to 3 ns an element. The rest is
 * plainKernels.ts's. Indices are in range by construction; `as number` in the loops says only that.
 */
import * as tf from '@tensorflow/tfjs-core'
import { LAYER_NORM_EPSILON } from '../../model/config.ts'
import type { Columns, Kernels, Normed, NormState, Rotation } from './kernels.ts'
import { plainKernels } from './plainKernels.ts'
import { floats, integers, output, productsOneByOne } from './wasmMemory.ts'

export const heapKernels: Kernels = {
  ...plainKernels,
  productWithTransposed: (a, b) => tf.matMul(a, tf.transpose(b)),
  transposedProduct,
  products: productsOneByOne,
  productsWithTransposed: (a, b) => productsOneByOne(a, swapLast(b)),
  transposedProducts: (a, b) => productsOneByOne(swapLast(a), b),
  layerNorm,
  layerNormBackward,
  rotate: (x, rotation) => rotated(x, rotation, 1),
  rotateBackward: (dy, rotation) => rotated(dy, rotation, -1),
  rowsOf,
  sumByIds,
  splitColumns,
  joinColumns,
}

/**
 * Transposes the narrower operand, or for the wider one the small result. Only where `a` is as wide as a vocabulary
 * it is cheaper to transpose it than to let XNNPACK pack it: V=4,096, d=128: 180 against 218 ms for the whole loss.
 */
function transposedProduct(a: tf.Tensor2D, b: tf.Tensor2D): tf.Tensor2D {
  if (a.shape[1] >= 8 * b.shape[1]) return tf.matMul(transposed(a), b)
  if (a.shape[1] <= b.shape[1]) return tf.matMul(tf.transpose(a), b)
  return tf.transpose(tf.matMul(tf.transpose(b), a))
}

/** By tiles that stay in the cache; the backend's own goes column by column. */
function transposed(x: tf.Tensor2D): tf.Tensor2D {
  const [rows, columns] = x.shape
  const result = output<tf.Rank.R2>([columns, rows])
  const [to, from] = [floats(result), floats(x)]
  for (let top = 0; top < rows; top += TILE) {
    const bottom = Math.min(rows, top + TILE)
    for (let left = 0; left < columns; left += TILE) {
      const right = Math.min(columns, left + TILE)
      for (let j = left; j < right; j++) {
        for (let i = top; i < bottom; i++) to[j * rows + i] = from[i * columns + j] as number
      }
    }
  }
  return result
}

const TILE = 16

const swapLast = (x: tf.Tensor3D): tf.Tensor3D => tf.transpose(x, [0, 2, 1])

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

/** direction 1 turns by the table's angles, −1 turns back. */
function rotated(x: tf.Tensor3D, rotation: Rotation, direction: 1 | -1): tf.Tensor3D {
  const [heads, length, dim] = x.shape
  const result = output<tf.Rank.R3>([heads, length, dim])
  const [to, from, cos, sin] = [floats(result), floats(x), floats(rotation.cos), floats(rotation.sin)]
  const half = dim / 2
  for (let row = 0, at = 0; row < heads * length; row++, at += dim) {
    const table = (row % length) * dim
    for (let i = 0; i < half; i++) {
      const [left, right] = [from[at + i] as number, from[at + half + i] as number]
      const c = cos[table + i] as number
      const s = direction * (sin[table + half + i] as number)
      to[at + i] = left * c - right * s
      to[at + half + i] = right * c + left * s
    }
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

function splitColumns<Count extends 2 | 3>(x: tf.Tensor2D, count: Count): Columns<Count> {
  const [rows, all] = x.shape
  const width = all / count
  const parts = Array.from({ length: count }, () => output<tf.Rank.R2>([rows, width]))
  const from = floats(x)
  for (const [p, part] of parts.entries()) copyColumns(floats(part), 0, width, from, p * width, all, width)
  return parts as Columns<Count> // exactly `count` of them
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
