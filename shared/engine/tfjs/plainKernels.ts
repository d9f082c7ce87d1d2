/** The kernels in TensorFlow.js operations: for the GPU backends, and what heapKernels.ts is compared with. */
import * as tf from '@tensorflow/tfjs-core'
import { LAYER_NORM_EPSILON } from '../../model/config.ts'
import type {
  HeadGains,
  Heads,
  HeadsState,
  HeadTables,
  Kernels,
  Normed,
  NormState,
  Rotation,
} from './kernels.ts'

/** How rows are normed; gpuKernels.ts has its own way. */
type Norms = Pick<Kernels, 'layerNorm' | 'layerNormBackward'>

/** What is built on a LayerNorm, with that LayerNorm. */
export function makeHeadKernels(norms: Norms): Norms & Pick<Kernels, 'splitHeads' | 'splitHeadsBackward'> {
  return {
    ...norms,
    splitHeads: (qkv, gains, tables) => tf.tidy(() => splitHeads(norms, qkv, gains, tables)),
    splitHeadsBackward: (dHeads, state, gains, tables) =>
      tf.tidy(() => splitHeadsBackward(norms, dHeads, state, gains, tables)),
  }
}

export const plainKernels: Kernels = {
  ...makeHeadKernels({ layerNorm, layerNormBackward }),
  product: (a, b) => tf.matMul(a, b),
  productWithTransposed: (a, b) => tf.matMul(a, b, false, true),
  transposedProduct: (a, b) => tf.matMul(a, b, true, false),
  products: (a, b) => tf.matMul(a, b),
  productsWithTransposed: (a, b) => tf.matMul(a, b, false, true),
  transposedProducts: (a, b) => tf.matMul(a, b, true, false),
  gatedSilu: (both) => tf.tidy(() => gated(both)),
  gatedSiluBackward: (dy, both) => tf.tidy(() => gatedBackward(dy, both)),
  mergeHeads: (x, heads) => tf.tidy(() => fromHeads(x, heads)),
  mergeHeadsBackward: (dy, heads, length) => tf.tidy(() => toHeads(dy, heads, length)),
  softmaxBackward: (dp, p) =>
    tf.tidy(() => {
      const weighted = tf.mul(dp, p)
      return tf.sub(weighted, tf.mul(p, tf.sum(weighted, 2, true)))
    }),
  rowsOf: (table, ids) => tf.gather(table, ids),
  sumByIds: (rows, ids, count) => tf.unsortedSegmentSum(rows, ids, count),
  joinColumns: (parts) => tf.concat(parts, 1),
  splitColumns: (x, count) => tf.split(x, count, 1),
}

function layerNorm(x: tf.Tensor2D, gain: tf.Tensor1D): Normed {
  return tf.tidy(() => {
    const centred = tf.sub<tf.Tensor2D>(x, tf.mean(x, 1, true)) // [rows, n]
    const variance = tf.mean(tf.square(centred), 1, true) // [rows, 1]
    const scale = tf.rsqrt(tf.add<tf.Tensor2D>(variance, LAYER_NORM_EPSILON)) // [rows, 1]
    const unit = tf.mul<tf.Tensor2D>(centred, scale) // [rows, n]
    return { y: tf.mul<tf.Tensor2D>(unit, gain), unit, scale }
  })
}

function layerNormBackward(dy: tf.Tensor2D, { unit, scale }: NormState, gain: tf.Tensor1D) {
  return tf.tidy(() => {
    const dGain = tf.sum<tf.Tensor1D>(tf.mul(dy, unit), 0) // [n]
    const dUnit = tf.mul<tf.Tensor2D>(dy, gain) // [rows, n]
    const along = tf.mean(tf.mul(dUnit, unit), 1, true) // [rows, 1]
    const inner = tf.sub(tf.sub(dUnit, tf.mean(dUnit, 1, true)), tf.mul(unit, along))
    return { dx: tf.mul<tf.Tensor2D>(inner, scale), dGain }
  })
}

function gated(both: tf.Tensor2D): tf.Tensor2D {
  const [gate, up] = halves(both, 1) // [N, h]
  return tf.mul(tf.mul(gate, tf.sigmoid(gate)), up)
}

function gatedBackward(dy: tf.Tensor2D, both: tf.Tensor2D): tf.Tensor2D {
  const [gate, up] = halves(both, 1) // [N, h]
  const sigmoid = tf.sigmoid(gate)
  const silu = tf.mul<tf.Tensor2D>(gate, sigmoid)
  // silu' = σ + silu·(1 − σ)
  const slope = tf.add<tf.Tensor2D>(sigmoid, tf.sub(silu, tf.mul(silu, sigmoid)))
  return tf.concat([tf.mul<tf.Tensor2D>(tf.mul(dy, up), slope), tf.mul<tf.Tensor2D>(dy, silu)], 1)
}

function splitHeads(
  norms: Norms,
  qkv: tf.Tensor2D,
  gains: HeadGains,
  { heads, ...rotations }: HeadTables,
): HeadsState {
  const [length, dim] = rotations.query.cos.shape
  const [q, k, v] = thirds(qkv) // [N, d]
  const query = norms.layerNorm(tf.reshape(q, [-1, dim]), gains.query) // [N·H, D]
  const key = norms.layerNorm(tf.reshape(k, [-1, dim]), gains.key) // [N·H, D]
  const wide = (t: tf.Tensor2D) => tf.reshape<tf.Rank.R2>(t, q.shape)
  return {
    heads: [
      rotated(toHeads(wide(query.y), heads, length), rotations.query), // [B·H, T, D]
      rotated(toHeads(wide(key.y), heads, length), rotations.key),
      toHeads(v, heads, length),
    ],
    query: stateOf(query),
    key: stateOf(key),
  }
}

function splitHeadsBackward(
  norms: Norms,
  dHeads: Heads,
  s: HeadsState,
  gains: HeadGains,
  tables: HeadTables,
) {
  const [dq, dk, dv] = dHeads // [B·H, T, D]
  const rows = (t: tf.Tensor3D) => tf.reshape<tf.Rank.R2>(fromHeads(t, tables.heads), [-1, t.shape[2]]) // [N·H, D]
  const query = norms.layerNormBackward(rows(rotatedBack(dq, tables.query)), s.query, gains.query)
  const key = norms.layerNormBackward(rows(rotatedBack(dk, tables.key)), s.key, gains.key)
  const values = fromHeads(dv, tables.heads) // [N, d]
  const wide = (t: tf.Tensor2D) => tf.reshape<tf.Rank.R2>(t, values.shape)
  const dQkv = tf.concat([wide(query.dx), wide(key.dx), values], 1) // [N, 3d]
  return { dQkv, dQuery: query.dGain, dKey: key.dGain }
}

/** Without y, so that its memory is freed. */
const stateOf = ({ unit, scale }: Normed): NormState => ({ unit, scale })

function toHeads(x: tf.Tensor2D, heads: number, length: number): tf.Tensor3D {
  const dim = x.shape[1] / heads
  const apart = tf.transpose(tf.reshape(x, [-1, length, heads, dim]), [0, 2, 1, 3]) // [B, H, T, D]
  return tf.reshape(apart, [-1, length, dim])
}

function fromHeads(x: tf.Tensor3D, heads: number): tf.Tensor2D {
  const [, length, dim] = x.shape
  const apart = tf.reshape(x, [-1, heads, length, dim]) // [B, H, T, D]
  return tf.reshape(tf.transpose(apart, [0, 2, 1, 3]), [-1, heads * dim])
}

const rotated = (x: tf.Tensor3D, { cos, sin }: Rotation): tf.Tensor3D =>
  tf.add(tf.mul(x, cos), tf.mul(swapHalves(x), sin))

/** The transpose of a rotation turns back. */
const rotatedBack = (dy: tf.Tensor3D, { cos, sin }: Rotation): tf.Tensor3D =>
  tf.sub(tf.mul(dy, cos), tf.mul(swapHalves(dy), sin))

function swapHalves(x: tf.Tensor3D): tf.Tensor3D {
  const [left, right] = halves(x, 2)
  return tf.concat<tf.Tensor3D>([right, left], 2)
}

// tf.split gives exactly as many tensors as asked for; its type only says some.
const halves = <T extends tf.Tensor>(x: T, axis: number) => tf.split<T>(x, 2, axis) as [T, T]
const thirds = (x: tf.Tensor2D) => tf.split<tf.Tensor2D>(x, 3, 1) as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D]
