/**
 * The inner learning rate as a pure function of the global step, so that whoever trains a step trains it at the
 * same rate. What it is not: it knows no optimiser state; the short local warm-up of a fresh optimiser is
 * `localWarmup`, and the engine multiplies the two.
 */

/** Longest warm-up, in inner steps (DiLoCo scaling laws, arXiv 2503.09799). */
const LONGEST_WARMUP = 1_000
/** The cosine ends at this part of the peak. */
const FLOOR = 0.05
/** Updates over which an optimiser that started from zero moments reaches the full rate. */
const LOCAL_WARMUP_UPDATES = 10

/**
 * Linear to the peak over min(1000, 10 % of T) steps, then cosine to 5 % of the peak at step T.
 * `globalStep` counts from 0; steps past `totalSteps` stay at the floor.
 */
export function innerLearningRate(globalStep: number, totalSteps: number, peak: number): number {
  const warmup = Math.min(LONGEST_WARMUP, Math.floor(totalSteps / 10))
  if (globalStep < warmup) return (peak * (globalStep + 1)) / warmup
  const progress = Math.min(1, (globalStep - warmup) / Math.max(1, totalSteps - warmup))
  return peak * (FLOOR + (1 - FLOOR) * 0.5 * (1 + Math.cos(Math.PI * progress)))
}

/** Factor on the learning rate of an optimiser with `updates` updates behind it: 0.1, 0.2, ... 1, 1, ... */
export function localWarmup(updates: number): number {
  return Math.min(1, (updates + 1) / LOCAL_WARMUP_UPDATES)
}
