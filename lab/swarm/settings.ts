/** What a simulated swarm is made of, in one table. Numbers without a source are assumptions, and said to be. */

/** Log-normal: median, and the standard deviation of the logarithm. */
export interface LogNormal {
  readonly median: number
  readonly sigma: number
}

/**
 * FLOP/s sustained in training, through WebGPU. Published matmuls in browsers reach 0.9 (TensorFlow.js, M1) to 7 TFLOP/s
 * (jax-js, M4 Max); a step gets perhaps half of a matmul's. So a median of 1 TFLOP/s, the 5th percentile 0.2, the 95th 5.
 */
export const DEVICES: LogNormal = { median: 1e12, sigma: 1 }
/** Bits a second. 10 Mbit/s up and 50 down in the middle. */
export const UPLINKS: LogNormal = { median: 10e6, sigma: 0.8 }
export const DOWN_OVER_UP = 5
export const LATENCY_SECONDS = 0.03

/** A day: the share of volunteers who are there swings about its mean, each by their own clock. */
export const PRESENCE = { mean: 0.5, swing: 0.3, sessionHours: 2 }

/** Of leases. */
export const FAILURES = {
  /** The tab dies and comes back after a while. */
  crashes: 0.02,
  crashSeconds: [30, 600],
  /** The tab goes to sleep and is of no use to this round. */
  sleeps: 0.01,
  /** The bytes arrive damaged and are sent again. */
  damaged: 0.01,
  /** The bytes are found unfit. */
  unfit: 0.002,
} as const

/** Parameters times contributions that the coordinator merges in a second. */
export const MERGE_RATE = 1e9
/** A deadline is so many times what the median device takes for H steps. */
export const DEADLINE = 2
