/**
 * The pieces of reference.ts, each forward and backward, on row-major f64 matrices. Every loop is the formula
 * itself: no tricks, no sharing with the engine. Indices are in range by construction; `as number` says only that.
 */
import { LAYER_NORM_EPSILON, ROPE_BASE } from '../model/config.ts'

export interface Matrix {
  readonly rows: number
  readonly columns: number
  /** Row-major. */
  readonly values: Float64Array
}

export function matrix(
  rows: number,
  columns: number,
  values: Float64Array = new Float64Array(rows * columns),
): Matrix {
  return { rows, columns, values }
}

/** The same numbers in rows of another length. */
export function reshape({ values }: Matrix, columns: number): Matrix {
  return matrix(values.length / columns, columns, values)
}

/** to += from */
export function add(to: Matrix, from: Matrix): void {
  addScaled(to.values, 0, 1, from.values, 0, to.values.length)
}

/** a·b: [n, k] and [k, m] → [n, m] */
export function multiply(a: Matrix, b: Matrix): Matrix {
  const out = matrix(a.rows, b.columns)
  const [k, m] = [b.rows, b.columns]
  for (let i = 0; i < a.rows; i++) {
    for (let j = 0; j < k; j++)
      addScaled(out.values, i * m, a.values[i * k + j] as number, b.values, j * m, m)
  }
  return out
}

/** a·bᵀ: [n, k] and [m, k] → [n, m] */
export function multiplyTransposed(a: Matrix, b: Matrix): Matrix {
  const out = matrix(a.rows, b.rows)
  const [k, m] = [a.columns, b.rows]
  for (let i = 0; i < a.rows; i++) {
    for (let j = 0; j < m; j++) out.values[i * m + j] = dot(a.values, i * k, b.values, j * k, k)
  }
  return out
}

/** sum += aᵀ·b: [n, k] and [n, m] onto [k, m] */
export function sumProducts(sum: Matrix, a: Matrix, b: Matrix): void {
  const [k, m] = [a.columns, b.columns]
  for (let n = 0; n < a.rows; n++) {
    for (let i = 0; i < k; i++)
      addScaled(sum.values, i * m, a.values[n * k + i] as number, b.values, n * m, m)
  }
}

function dot(a: Float64Array, aAt: number, b: Float64Array, bAt: number, size: number): number {
  let [even, odd, i] = [0, 0, 0]
  // Two sums, because an addition waits for the one before it.
  for (; i + 1 < size; i += 2) {
    even += (a[aAt + i] as number) * (b[bAt + i] as number)
    odd += (a[aAt + i + 1] as number) * (b[bAt + i + 1] as number)
  }
  if (i < size) even += (a[aAt + i] as number) * (b[bAt + i] as number)
  return even + odd
}

function addScaled(
  to: Float64Array,
  toAt: number,
  factor: number,
  from: Float64Array,
  fromAt: number,
  size: number,
): void {
  for (let i = 0; i < size; i++) {
    to[toAt + i] = (to[toAt + i] as number) + factor * (from[fromAt + i] as number)
  }
}

export interface Normed {
  /** [rows, n] */
  readonly y: Matrix
  /** (x − mean)/deviation, [rows, n]. */
  readonly unit: Matrix
  /** 1/deviation of every row. */
  readonly scale: Float64Array
}

/** LayerNorm of every row: y = gain·(x − mean)/√(variance + ε). */
export function normalise(x: Matrix, gain: Matrix): Normed {
  const n = x.columns
  const [y, unit, scale] = [matrix(x.rows, n), matrix(x.rows, n), new Float64Array(x.rows)]
  for (let row = 0; row < x.rows; row++) {
    const of = x.values.subarray(row * n, (row + 1) * n)
    const mean = of.reduce((sum, value) => sum + value, 0) / n
    const variance = of.reduce((sum, value) => sum + (value - mean) ** 2, 0) / n
    const s = 1 / Math.sqrt(variance + LAYER_NORM_EPSILON)
    scale[row] = s
    of.forEach((value, i) => {
      const u = (value - mean) * s
      unit.values[row * n + i] = u
      y.values[row * n + i] = u * (gain.values[i] as number)
    })
  }
  return { y, unit, scale }
}

/** dx = scale·(du − mean(du) − unit·mean(du·unit)) with du = dy·gain; adds Σ dy·unit to `dGain`. */
export function normaliseBackward(
  dy: Matrix,
  { unit, scale }: Omit<Normed, 'y'>,
  gain: Matrix,
  dGain: Matrix,
): Matrix {
  const n = dy.columns
  const dx = matrix(dy.rows, n)
  const du = new Float64Array(n)
  for (let row = 0; row < dy.rows; row++) {
    for (let i = 0; i < n; i++) {
      const d = dy.values[row * n + i] as number
      du[i] = d * (gain.values[i] as number)
      dGain.values[i] = (dGain.values[i] as number) + d * (unit.values[row * n + i] as number)
    }
    const mean = du.reduce((sum, value) => sum + value, 0) / n
    const along = dot(du, 0, unit.values, row * n, n) / n
    for (let i = 0; i < n; i++) {
      const across = (du[i] as number) - mean - along * (unit.values[row * n + i] as number)
      dx.values[row * n + i] = across * (scale[row] as number)
    }
  }
  return dx
}

/**
 * Rotary embedding, half-split: at position t the pair (x_i, x_{i + D/2}) turns by direction·t·10000^(−2i/D).
 * x: [N·H, D], the heads of one token one after another, positions counted from 0 in every `length` tokens.
 */
export function rotate(x: Matrix, heads: number, length: number, direction: 1 | -1): Matrix {
  const D = x.columns
  const half = D / 2
  const out = matrix(x.rows, D)
  for (let row = 0; row < x.rows; row++) {
    const t = Math.floor(row / heads) % length
    for (let i = 0; i < half; i++) {
      const angle = direction * t * ROPE_BASE ** ((-2 * i) / D)
      const a = x.values[row * D + i] as number
      const b = x.values[row * D + i + half] as number
      out.values[row * D + i] = a * Math.cos(angle) - b * Math.sin(angle)
      out.values[row * D + i + half] = a * Math.sin(angle) + b * Math.cos(angle)
    }
  }
  return out
}

/** Calls `visit` for every query of every head, with the offset of its numbers and of the head's first key. */
function eachQuery(
  { rows, columns }: Matrix,
  heads: number,
  length: number,
  visit: (t: number, query: number, firstKey: number, scores: number) => void,
): void {
  for (let n = 0; n < rows; n++) {
    const t = n % length
    const [sequence, first] = [Math.floor(n / length), n - t]
    for (let head = 0; head < heads; head++) {
      const at = (head * columns) / heads
      visit(t, n * columns + at, first * columns + at, ((sequence * heads + head) * length + t) * length)
    }
  }
}

/** Causal softmax attention, scale 1/√D. q, k, v: [N, d], heads side by side; probabilities: [B, H, T, T]. */
export function attend(q: Matrix, k: Matrix, v: Matrix, heads: number, length: number) {
  const [d, D] = [q.columns, q.columns / heads]
  const merged = matrix(q.rows, d) // [N, d]
  const probabilities = new Float64Array(q.rows * heads * length)
  eachQuery(q, heads, length, (t, query, firstKey, at) => {
    const row = probabilities.subarray(at, at + t + 1) // of the keys that the query may see
    for (let s = 0; s <= t; s++) row[s] = dot(q.values, query, k.values, firstKey + s * d, D) / Math.sqrt(D)
    const largest = row.reduce((a, b) => Math.max(a, b))
    const total = row.reduce((sum, score) => sum + Math.exp(score - largest), 0)
    for (let s = 0; s <= t; s++) {
      row[s] = Math.exp((row[s] as number) - largest) / total
      addScaled(merged.values, query, row[s] as number, v.values, firstKey + s * d, D)
    }
  })
  return { merged, probabilities }
}

export function attendBackward(
  dMerged: Matrix,
  q: Matrix,
  k: Matrix,
  v: Matrix,
  probabilities: Float64Array,
  heads: number,
  length: number,
) {
  const [d, D] = [q.columns, q.columns / heads]
  const [dq, dk, dv] = [matrix(q.rows, d), matrix(q.rows, d), matrix(q.rows, d)]
  const dp = new Float64Array(length)
  eachQuery(q, heads, length, (t, query, firstKey, at) => {
    for (let s = 0; s <= t; s++) {
      dp[s] = dot(dMerged.values, query, v.values, firstKey + s * d, D)
      addScaled(dv.values, firstKey + s * d, probabilities[at + s] as number, dMerged.values, query, D)
    }
    const mean = dot(dp, 0, probabilities, at, t + 1)
    for (let s = 0; s <= t; s++) {
      const dScore = ((probabilities[at + s] as number) * ((dp[s] as number) - mean)) / Math.sqrt(D)
      addScaled(dq.values, query, dScore, k.values, firstKey + s * d, D)
      addScaled(dk.values, firstKey + s * d, dScore, q.values, query, D)
    }
  })
  return { dq, dk, dv }
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x))

/** gate·σ(gate)·up, element by element. */
export function gatedSilu(gate: Matrix, up: Matrix): Matrix {
  const values = gate.values.map((g, i) => g * sigmoid(g) * (up.values[i] as number))
  return matrix(gate.rows, gate.columns, values)
}

/** With (g·σ(g))' = σ(g)·(1 + g·(1 − σ(g))). */
export function gatedSiluBackward(dy: Matrix, gate: Matrix, up: Matrix) {
  const dGate = gate.values.map((g, i) => {
    const slope = sigmoid(g) * (1 + g * (1 - sigmoid(g)))
    return (dy.values[i] as number) * (up.values[i] as number) * slope
  })
  const dUp = gate.values.map((g, i) => (dy.values[i] as number) * g * sigmoid(g))
  return { dGate: matrix(gate.rows, gate.columns, dGate), dUp: matrix(gate.rows, gate.columns, dUp) }
}
