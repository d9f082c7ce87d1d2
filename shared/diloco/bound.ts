/**
 * How far honest inner steps can move one parameter. AdamW's step is bounded whatever the gradients are: by
 * Cauchy-Schwarz |m̂|/√v̂ ≤ 1/√(1 − β₁²/β₂) = 2.345 for β = (0.9, 0.99) (the bias corrections only lower it:
 * (1 − β₁)/√(1 − β₂) = 1 and √(1 − β₂ᵗ)/(1 − β₁ᵗ) ≤ 1 for every t ≥ 1), and decoupled decay adds λ|θ|. A
 * contribution beyond the sum of these bounds was not made by the recipe.
 */
const ADAM_STEP = 2.345
/** Room for f16 rounding of the sent values and for ε. */
const SLACK = 1.01

/** Inclusive bound on max|Δ| for steps with these learning rates, decay λ and largest |θ|. */
export function travelBound(
  learningRates: readonly number[],
  decay: number,
  largestParameter: number,
): number {
  const travelled = learningRates.reduce((sum, rate) => sum + rate, 0) * ADAM_STEP
  const reach = largestParameter + travelled
  const decayed = learningRates.reduce((sum, rate) => sum + rate, 0) * decay * reach
  return SLACK * (travelled + decayed)
}
