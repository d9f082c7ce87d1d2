/**
 * The share of time spent computing, by bandwidth: table 6 of "Scaling Laws for DiLoCo" (arXiv 2503.09799), whose
 * simulator is that of Streaming DiLoCo (arXiv 2501.18512), section 3 and table 4. Neither says how many bits a parameter
 * takes on the wire or how long the backward pass is; BITS and BACKWARD are fitted, two numbers for 75 cells. Pure.
 */

/** On the wire for a parameter and synchronisation, both ways. Fitted. */
export const BITS = 11.35
/** Share of a step in the backward pass. Fitted; two thirds would be the usual estimate. */
export const BACKWARD = 0.55

export interface Architecture {
  readonly name: string
  readonly parameters: number
  readonly layers: number
  /** Of computing a step. */
  readonly seconds: number
}

export interface Synchronising {
  /** H; 1 is data parallelism. */
  readonly innerSteps: number
  /** P. */
  readonly fragments?: number
  /** Steps that go on while a fragment travels; left out, only the backward pass of the same step does. */
  readonly overlapSteps?: number
  /** Of BITS, on the wire. */
  readonly share?: number
}

/**
 * Compute utilisation at a bandwidth in bits a second. Without overlap a layer's gradient sets out when its backward is
 * done, and the next step waits for the last; with overlap a fragment has `overlapSteps` steps' time.
 */
export function utilisation(
  { parameters, layers, seconds }: Architecture,
  { innerSteps, fragments = 1, overlapSteps, share = 1 }: Synchronising,
  bandwidth: number,
): number {
  const wire = (BITS * share * parameters) / fragments / bandwidth
  const waiting =
    overlapSteps === undefined
      ? exposed(wire, seconds, Math.max(1, layers / fragments))
      : Math.max(0, wire - overlapSteps * seconds)
  const computing = innerSteps * seconds
  return computing / (computing + fragments * waiting)
}

/** Seconds that the wire holds up a step whose backward goes through `layers` that have something to send. */
function exposed(wire: number, seconds: number, layers: number): number {
  const first = (1 - BACKWARD) * seconds + (BACKWARD * seconds) / layers
  return Math.max(first + wire, seconds + wire / layers) - seconds
}

/** The papers' bandwidths, Gbit/s: numpy.logspace(-1, 3, 50). */
export const GRID: readonly number[] = Array.from({ length: 50 }, (_, k) => 10 ** (-1 + (4 * k) / 49))

/** Index in the grid of the least bandwidth with this utilisation; the grid's length when none has. */
export function gridIndexFor(
  target: number,
  architecture: Architecture,
  synchronising: Synchronising,
  grid: readonly number[] = GRID,
): number {
  const found = grid.findIndex((gbit) => utilisation(architecture, synchronising, gbit * 1e9) >= target)
  return found < 0 ? grid.length : found
}
