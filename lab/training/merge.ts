/**
 * How contributions become one pseudo-gradient: production's weighted mean, and RDA of Decoupled DiLoCo (arXiv 2604.21428):
 * (Σw‖v‖/Σw) · φ(Σw·φ(v)/Σw) with φ(x) = x/‖x‖, tensor by tensor, the embedding by the mean. Nearly orthogonal
 * contributions shrink by 1/√M under the mean; RDA keeps their length.
 */
import { accumulate } from '../../shared/diloco/outer.ts'
import type { ParameterEntry } from '../../shared/model/layout.ts'

export interface Weighted {
  readonly delta: Float32Array
  /** Tokens. */
  readonly weight: number
}

/** Σ w·Δ, to be divided by Σ w. */
export function weightedSum(contributions: readonly Weighted[], length: number): Float64Array {
  const sum = new Float64Array(length)
  for (const { delta, weight } of contributions) accumulate(sum, delta, weight)
  return sum
}

/** As `weightedSum`, such that dividing by Σ w gives RDA's pseudo-gradient. At least one contribution. */
export function rdaSum(contributions: readonly Weighted[], layout: readonly ParameterEntry[]): Float64Array {
  const length = contributions[0]?.delta.length ?? 0
  const sum = weightedSum(contributions, length)
  const total = contributions.reduce((tokens, { weight }) => tokens + weight, 0)
  for (const { name, offset, size } of layout) {
    if (name.includes('embed_tokens')) continue
    const directions = new Float64Array(size)
    let lengths = 0
    for (const { delta, weight } of contributions) {
      const part = delta.subarray(offset, offset + size)
      const norm = norm2(part)
      lengths += weight * norm
      if (norm > 0) accumulate(directions, part, weight / norm)
    }
    const norm = norm2(directions)
    const factor = norm > 0 ? lengths / norm : 0 // (Σw‖v‖/Σw) · φ, times Σ w
    for (let i = 0; i < size; i++) sum[offset + i] = factor * (directions[i] as number) // i < size
  }
  return total > 0 ? sum : sum.fill(0)
}

/** Euclidean. */
function norm2(values: ArrayLike<number>): number {
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += (values[i] as number) ** 2 // i < length
  return Math.sqrt(sum)
}
