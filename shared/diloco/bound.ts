import type { CodecName } from '../codec/codec.ts'

/**
 * How far honest inner steps can move one parameter. AdamW's step is bounded whatever the gradients are: by
 * Cauchy-Schwarz |m̂|/√v̂ ≤ 1/√(1 − β₁²/β₂) = 2.345 for β = (0.9, 0.99) (the bias corrections only lower it:
 * (1 − β₁)/√(1 − β₂) = 1 and √(1 − β₂ᵗ)/(1 − β₁ᵗ) ≤ 1 for every t ≥ 1), and decoupled decay adds λ|θ|. A
 * contribution beyond the sum of these bounds was not made by the recipe.
 */
const ADAM_STEP = 2.345
/** Room for f32 rounding and for ε. */
const SLACK = 1.01

/**
 * Inclusive bound on max|Δ| for inner steps whose learning rates add up to `rates`, with decay λ and largest |θ| of the
 * global weights. A replica that goes on while its bytes travel is ahead of those by as many steps again.
 */
export function travelBound(rates: number, decay: number, largestParameter: number): number {
  const travelled = rates * ADAM_STEP
  const reach = largestParameter + 2 * travelled
  return SLACK * (travelled + rates * decay * reach)
}

/**
 * How much further than `travel` the values may reach that a codec sends with error feedback, where x = Δ + residual is
 * encoded and the residual is x minus what was decoded. Let M be the largest |x| that ever comes, ε the largest
 * error of one encoding as a share of its block's largest |x|. Then M ≤ travel + εM, so M ≤ travel / (1 − ε), and what is
 * decoded is at most M with the scale's rounding up to f16: 2^-10 of it, and never more than the smallest f16, 2^-24.
 *
 * - f32 has no error. f16: ε = 2^-11.
 * - int8 and int4: half a step, ε = 1/254 and 1/14; under a subnormal scale a whole one, ε = 1/127 and 1/7 (quantise.ts).
 * - sparse sends the largest 1 of 64 (k of m) and keeps the rest, so values wait and grow. A value of size h that waits
 *   has waited h/travel rounds at least; in each of them k others were larger and were sent. A value sent leaves at
 *   most 4/5 of M behind (of 64 values on two levels, the worst is one at M beside 31 at M/5 and 32 at 0), so it cannot have
 *   grown back within (h − 4M/5)/travel rounds: all those sent were different, k·(M/5)/travel ≤ m, and M ≤ 320·travel.
 */
const ONE_ERROR = {
  f32: 0,
  f16: 2 ** -11,
  int8: 1 / 127,
  int4: 1 / 7,
} as const satisfies Record<Exclude<CodecName, 'sparse'>, number>
const SPARSE_REACH = 320
const SCALE_ROUNDING = 1 + 2 ** -10
const SMALLEST_SCALE = 2 ** -24

/**
 * Inclusive bound on every decoded magnitude of an honest contribution whose |Δ| is at most `travel`, of a replica whose
 * |Δ| was never more than `longest`: what error feedback adds is a part of what came before.
 */
export function contributionBound(codec: CodecName, travel: number, longest: number = travel): number {
  if (codec === 'f32') return travel
  const residual =
    codec === 'sparse' ? SPARSE_REACH * longest : (ONE_ERROR[codec] * longest) / (1 - ONE_ERROR[codec])
  return (travel + residual) * SCALE_ROUNDING + 2 * SMALLEST_SCALE
}
