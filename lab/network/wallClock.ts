/**
 * The idealised wall-clock model of "Scaling Laws for DiLoCo" (arXiv 2503.09799, appendix A): time to compute and time
 * to communicate, one after the other. The paper does not publish its table of chips; ours is `chipsOf`. Pure.
 */

export interface Link {
  /** Bits a second. */
  readonly bandwidth: number
  /** Seconds. */
  readonly latency: number
}

/** Between data centres, or homes. Inside one it is always `high`. */
export const NETWORKS = {
  high: { bandwidth: 400e9, latency: 1e-4 },
  medium: { bandwidth: 100e9, latency: 1e-3 },
  low: { bandwidth: 10e9, latency: 1e-2 },
  /** 10 Mbit/s up and 50 down: an all-reduce goes at the speed of the slower. */
  home: { bandwidth: 10e6, latency: 30e-3 },
} as const satisfies Record<string, Link>
export type NetworkName = keyof typeof NETWORKS

/** A chip's, FLOP/s. */
const CHIP = 300e12
/** bfloat16: the paper's 2N/W is of parameters. */
const BITS = 16

export interface Training {
  /** N. */
  readonly parameters: number
  /** D. */
  readonly tokens: number
  /** Tokens of the global batch. */
  readonly batch: number
  /** Null: data parallelism. */
  readonly replicas: number | null
  readonly innerSteps: number
}

export interface WallClock {
  /** All in seconds. */
  readonly compute: number
  readonly communication: number
  readonly total: number
}

/** R: one for every four sequences of 2,048 tokens, so that twice the batch has twice the chips, and one a replica at least. */
export const chipsOf = (batch: number, replicas: number | null): number =>
  Math.max(batch / 8_192, 2 * (replicas ?? 1))

export function wallClock(training: Training, between: Link, inside: Link = NETWORKS.high): WallClock {
  const { parameters, tokens, batch, replicas, innerSteps } = training
  const chips = chipsOf(batch, replicas)
  const steps = tokens / batch
  const compute = (6 * parameters * tokens) / (chips * CHIP)
  const outer = allReduce(parameters, chips, between)
  const communication =
    replicas === null
      ? outer * steps
      : replicas === 1
        ? outer * steps * (1 + 1 / innerSteps)
        : allReduce(parameters, chips / replicas, inside) * steps + (outer * steps) / innerSteps
  return { compute, communication, total: compute + communication }
}

/** 2N/W·(1 − 1/R) + ε: the least that any all-reduce among R takes. */
function allReduce(parameters: number, nodes: number, { bandwidth, latency }: Link): number {
  return ((2 * BITS * parameters) / bandwidth) * (1 - 1 / nodes) + latency
}
