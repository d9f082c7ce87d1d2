/**
 * The coordinator's side: the global model in fragments, merged in memory by the functions that define the
 * arithmetic. coordinator/aggregate does the same to the same bits, with threads and files (its rule A2).
 */
import type { Codec } from '../../shared/codec/codec.ts'
import { applyDelta } from '../../shared/diloco/delta.ts'
import { accumulate, applyOuterStep, type OuterStep, pseudoGradient } from '../../shared/diloco/outer.ts'
import { gathered, type ParameterRange, scatter } from '../../shared/model/layout.ts'
import type { Contribution } from './replica.ts'

export interface GlobalFragment {
  readonly ranges: readonly ParameterRange[]
  /** θ, which only the coordinator has. */
  readonly exact: Float32Array
  /** θ̂, which every replica holds. */
  readonly weights: Float32Array
  readonly velocity: Float32Array
}

export function startFragments(
  parameters: Float32Array<ArrayBuffer>,
  cut: readonly ParameterRange[][],
): readonly GlobalFragment[] {
  return cut.map((ranges) => {
    const exact = gathered(parameters, ranges).slice() // the merge changes it
    return { ranges, exact, weights: exact.slice(), velocity: new Float32Array(exact.length) }
  })
}

/** One outer step on a fragment, in place. Returns the bytes of the delta that replicas download. [S5] */
export function merge(
  { exact, weights, velocity }: GlobalFragment,
  contributions: readonly Contribution[],
  { uplink, downlink, outer }: { uplink: Codec; downlink: Codec; outer: OuterStep },
): number {
  const sum = new Float64Array(exact.length)
  for (const { bytes, weight } of contributions) accumulate(sum, uplink.decode(bytes, exact.length), weight)
  const total = contributions.reduce((tokens, { weight }) => tokens + weight, 0)
  applyOuterStep(exact, velocity, sum, total, outer)
  const delta = downlink.encode(pseudoGradient(exact, weights)) // θ − θ̂
  applyDelta(weights, downlink.decode(delta, exact.length))
  return delta.length
}

/** θ̂ of all fragments in layout order. */
export function wholeModel(fragments: readonly GlobalFragment[]): Float32Array {
  const count = fragments.reduce((sum, { weights }) => sum + weights.length, 0)
  const all = new Float32Array(count)
  for (const { ranges, weights } of fragments) scatter(weights, ranges, all)
  return all
}
