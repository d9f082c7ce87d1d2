/** Means with confidence intervals for a handful of seeds. Pure. */

export interface Estimate {
  readonly mean: number
  /** 95 %, both ends; null for a single value. */
  readonly interval: readonly [low: number, high: number] | null
}

/** Mean and Student's 95 % interval: mean ± t·s/√n with n − 1 degrees of freedom. At least one value. */
export function estimate(values: readonly number[]): Estimate {
  const n = values.length
  if (n === 0) throw new RangeError('There is no mean of no values.')
  const mean = values.reduce((sum, value) => sum + value, 0) / n
  if (n === 1) return { mean, interval: null }
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  const half = studentT(n - 1) * Math.sqrt(squares / (n - 1) / n)
  return { mean, interval: [mean - half, mean + half] }
}

/** The t that |T| stays below with the given probability, for a whole number of degrees of freedom. By bisection. */
export function studentT(freedom: number, probability = 0.95): number {
  let [low, high] = [0, 1]
  while (within(high, freedom) < probability) high *= 2
  for (let step = 0; step < 60; step++) {
    const middle = (low + high) / 2
    if (within(middle, freedom) < probability) low = middle
    else high = middle
  }
  return high
}

/** P(|T| < t): Abramowitz and Stegun, 26.7.3 (odd) and 26.7.4 (even degrees of freedom). */
function within(t: number, freedom: number): number {
  const angle = Math.atan(t / Math.sqrt(freedom))
  const odd = freedom % 2 === 1
  const squared = Math.cos(angle) ** 2
  let term = odd ? Math.cos(angle) : 1
  let sum = freedom === 1 ? 0 : term
  for (let k = odd ? 3 : 2; k < freedom; k += 2) {
    term *= (squared * (k - 1)) / k
    sum += term
  }
  return odd ? (2 / Math.PI) * (angle + Math.sin(angle) * sum) : Math.sin(angle) * sum
}
