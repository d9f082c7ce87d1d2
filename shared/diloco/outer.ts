/**
 * DiLoCo's outer step (arXiv 2311.08105, algorithm 1; 2503.09799): Nesterov momentum over the mean
 * pseudo-gradient, in PyTorch's form, SGD(nesterov=True, dampening=0). Pure arithmetic; who is allowed to
 * contribute is the round machine's business.
 */

export interface OuterStep {
  /** η. */
  readonly learningRate: number
  /** μ. */
  readonly momentum: number
}

/**
 * `auto`: the paper's best constant rate by accepted replicas M (figure 7, sizes from 335M on): 0.4 for one
 * replica, 0.6 up to four, 0.8 from eight, a straight line in log2(M) between four and eight.
 */
export function outerLearningRate(setting: number | 'auto', replicas: number): number {
  if (setting !== 'auto') return setting
  if (replicas <= 1) return 0.4
  if (replicas <= 4) return 0.6
  if (replicas >= 8) return 0.8
  return 0.6 + 0.2 * (Math.log2(replicas) - 2)
}

/**
 * Δ = θ_global − θ_local: positive points downhill. All three of the same length; writes into a new array.
 */
export function pseudoGradient(global: Float32Array, local: Float32Array): Float32Array<ArrayBuffer> {
  if (global.length !== local.length) throw new RangeError(`${global.length} and ${local.length} parameters`)
  const delta = new Float32Array(global.length)
  for (let i = 0; i < delta.length; i++) delta[i] = (global[i] as number) - (local[i] as number) // i < length
  return delta
}

/** Adds weight × values to a running f64 sum of the same length, in place. */
export function accumulate(sum: Float64Array, values: Float32Array, weight: number): void {
  if (sum.length !== values.length) throw new RangeError(`${sum.length} and ${values.length} values`)
  for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) + weight * (values[i] as number) // i < length
}

/**
 * One outer step, in place on `parameters` (θ) and `velocity` (v): Δ = sum / totalWeight, v ← μv + Δ,
 * θ ← θ − η(Δ + μv). Computed in f64, rounded once to f32 each: the same inputs give the same bits anywhere.
 */
export function applyOuterStep(
  parameters: Float32Array,
  velocity: Float32Array,
  sum: Float64Array,
  totalWeight: number,
  { learningRate, momentum }: OuterStep,
): void {
  if (!(totalWeight > 0)) throw new RangeError('An outer step needs at least one contribution.')
  for (let i = 0; i < parameters.length; i++) {
    const delta = (sum[i] as number) / totalWeight // i < length, here and below
    const v = momentum * (velocity[i] as number) + delta
    velocity[i] = v
    parameters[i] = (parameters[i] as number) - learningRate * (delta + momentum * v)
  }
}
