/**
 * How the global weights move from one step to the next in everybody's hands. θ̂ is what volunteers hold; the
 * coordinator publishes Q(θ − θ̂) and both ends add what it decodes to. Used by both, so that their bits agree.
 */

/** θ̂ ← θ̂ + delta, in place; each sum rounded once to f32. Both of the same length. */
export function applyDelta(weights: Float32Array, delta: Float32Array): void {
  if (weights.length !== delta.length)
    throw new RangeError(`${weights.length} weights and ${delta.length} differences`)
  for (let i = 0; i < weights.length; i++) weights[i] = (weights[i] as number) + (delta[i] as number) // i < length
}
