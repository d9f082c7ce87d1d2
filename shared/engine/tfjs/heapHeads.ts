/**
 * Queries, keys and values to heads and back on the wasm backend's memory: per-head LayerNorm, rotary embedding and
 * the change of order in one loop, where operations would go over the numbers a dozen times. Part of heapKernels.ts.
 * Indices are in range by construction; `as number` says only that.
 */
import type * as tf from '@tensorflow/tfjs-core'
import { LAYER_NORM_EPSILON } from '../../model/config.ts'
import type { HeadGains, Heads, HeadsState, HeadTables, NormState, Rotation } from './kernels.ts'
import { floats, output } from './wasmMemory.ts'

/** Where things lie: row n·H + h of [N·H, D] is row (b·H + h)·T + t of the heads. */
interface Order {
  readonly rows: number
  readonly heads: number
  readonly length: number
  readonly dim: number
}

/** Row of the heads for row `n` and head `h`. */
const headRow = (n: number, h: number, { heads, length }: Order) =>
  (Math.floor(n / length) * heads + h) * length + (n % length)

export function splitHeads(qkv: tf.Tensor2D, gains: HeadGains, tables: HeadTables): HeadsState {
  const [length, dim] = tables.query.cos.shape
  const order = { rows: qkv.shape[0], heads: tables.heads, length, dim }
  const { heads, rows } = order
  const head = () => output<tf.Rank.R3>([(rows / length) * heads, length, dim])
  const norm = () => ({
    unit: output<tf.Rank.R2>([rows * heads, dim]),
    scale: output<tf.Rank.R2>([rows * heads, 1]),
  })
  const state: HeadsState = { heads: [head(), head(), head()], query: norm(), key: norm() }
  const from = floats(qkv)
  normAndRotate(from, 0, floats(gains.query), tables.query, state.query, floats(state.heads[0]), order)
  normAndRotate(from, 1, floats(gains.key), tables.key, state.key, floats(state.heads[1]), order)
  const values = floats(state.heads[2])
  for (let n = 0; n < rows; n++) {
    for (let h = 0; h < heads; h++) {
      const [at, to] = [((3 * n + 2) * heads + h) * dim, headRow(n, h, order) * dim]
      for (let i = 0; i < dim; i++) values[to + i] = from[at + i] as number
    }
  }
  return state
}

/** `part` 0 reads the queries of [N, 3d], 1 the keys. */
function normAndRotate(
  from: Float32Array,
  part: number,
  gain: Float32Array,
  rotation: Rotation,
  state: NormState,
  y: Float32Array,
  order: Order,
): void {
  const { rows, heads, length, dim } = order
  const [unit, scale, cos, sin] = [state.unit, state.scale, rotation.cos, rotation.sin].map(floats) as [
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array, // as many as were given
  ]
  const half = dim / 2
  for (let n = 0, row = 0; n < rows; n++) {
    const table = (n % length) * dim
    for (let h = 0; h < heads; h++, row++) {
      const at = ((3 * n + part) * heads + h) * dim
      const [u, to] = [row * dim, headRow(n, h, order) * dim]
      let [sum, squares] = [0, 0]
      for (let i = at; i < at + dim; i++) sum += from[i] as number
      const mean = sum / dim
      for (let i = at; i < at + dim; i++) {
        const centred = (from[i] as number) - mean
        squares += centred * centred
      }
      const s = 1 / Math.sqrt(squares / dim + LAYER_NORM_EPSILON)
      scale[row] = s
      for (let i = 0; i < half; i++) {
        const left = ((from[at + i] as number) - mean) * s
        const right = ((from[at + half + i] as number) - mean) * s
        unit[u + i] = left
        unit[u + half + i] = right
        const l = left * (gain[i] as number)
        const r = right * (gain[half + i] as number)
        const c = cos[table + i] as number
        const d = sin[table + half + i] as number
        y[to + i] = l * c - r * d
        y[to + half + i] = r * c + l * d
      }
    }
  }
}

export function splitHeadsBackward(dHeads: Heads, state: HeadsState, gains: HeadGains, tables: HeadTables) {
  const [all, length, dim] = dHeads[0].shape
  const order = { rows: (all / tables.heads) * length, heads: tables.heads, length, dim }
  const { heads, rows } = order
  const result = {
    dQkv: output<tf.Rank.R2>([rows, 3 * heads * dim]),
    dQuery: output<tf.Rank.R1>([dim]),
    dKey: output<tf.Rank.R1>([dim]),
  }
  const to = floats(result.dQkv)
  const dQuery = rotateBackAndNorm(to, 0, dHeads[0], gains.query, tables.query, state.query, order)
  const dKey = rotateBackAndNorm(to, 1, dHeads[1], gains.key, tables.key, state.key, order)
  floats(result.dQuery).set(dQuery)
  floats(result.dKey).set(dKey)
  const values = floats(dHeads[2])
  for (let n = 0; n < rows; n++) {
    for (let h = 0; h < heads; h++) {
      const [at, from] = [((3 * n + 2) * heads + h) * dim, headRow(n, h, order) * dim]
      for (let i = 0; i < dim; i++) to[at + i] = values[from + i] as number
    }
  }
  return result
}

/** Writes the part's columns of dQkv; the gain's gradient. */
function rotateBackAndNorm(
  to: Float32Array,
  part: number,
  dHeads: tf.Tensor3D,
  gains: tf.Tensor1D,
  rotation: Rotation,
  state: NormState,
  order: Order,
): Float64Array {
  const { rows, heads, length, dim } = order
  const [dy, gain, unit, scale] = [floats(dHeads), floats(gains), floats(state.unit), floats(state.scale)]
  const [cos, sin, half] = [floats(rotation.cos), floats(rotation.sin), dim / 2]
  const dGain = new Float64Array(dim)
  const turned = new Float64Array(dim)
  for (let n = 0, row = 0; n < rows; n++) {
    const table = (n % length) * dim
    for (let h = 0; h < heads; h++, row++) {
      const from = headRow(n, h, order) * dim
      for (let i = 0; i < half; i++) {
        const left = dy[from + i] as number
        const right = dy[from + half + i] as number
        const c = cos[table + i] as number
        const s = sin[table + half + i] as number
        turned[i] = left * c + right * s
        turned[half + i] = right * c - left * s
      }
      const u = row * dim
      let [sum, along] = [0, 0]
      for (let i = 0; i < dim; i++) {
        const d = turned[i] as number
        const x = unit[u + i] as number
        dGain[i] = (dGain[i] as number) + d * x
        const dUnit = d * (gain[i] as number)
        turned[i] = dUnit
        sum += dUnit
        along += dUnit * x
      }
      const [mean, share, s] = [sum / dim, along / dim, scale[row] as number]
      const at = ((3 * n + part) * heads + h) * dim
      for (let i = 0; i < dim; i++) {
        to[at + i] = ((turned[i] as number) - mean - (unit[u + i] as number) * share) * s
      }
    }
  }
  return dGain
}

export function mergeHeads(x: tf.Tensor3D, heads: number): tf.Tensor2D {
  const [all, length, dim] = x.shape
  const order = { rows: (all / heads) * length, heads, length, dim }
  const result = output<tf.Rank.R2>([order.rows, heads * dim])
  const [to, from] = [floats(result), floats(x)]
  for (let n = 0, at = 0; n < order.rows; n++) {
    for (let h = 0; h < heads; h++, at += dim) {
      const row = headRow(n, h, order) * dim
      for (let i = 0; i < dim; i++) to[at + i] = from[row + i] as number
    }
  }
  return result
}

export function mergeHeadsBackward(dy: tf.Tensor2D, heads: number, length: number): tf.Tensor3D {
  const [rows, width] = dy.shape
  const dim = width / heads
  const order = { rows, heads, length, dim }
  const result = output<tf.Rank.R3>([(rows / length) * heads, length, dim])
  const [to, from] = [floats(result), floats(dy)]
  for (let n = 0, at = 0; n < rows; n++) {
    for (let h = 0; h < heads; h++, at += dim) {
      const row = headRow(n, h, order) * dim
      for (let i = 0; i < dim; i++) to[row + i] = from[at + i] as number
    }
  }
  return result
}
