/**
 * How much less DiLoCo sends than data parallelism would have for the same tokens. A convention, stated: every inner
 * step of every replica would send a gradient and receive the mean, both in half precision (bf16, as the paper's
 * bandwidth simulation has it), 4 bytes a parameter and step.
 */
const BYTES_A_STEP = 4

export interface Traffic {
  /** Inner steps of all replicas together. */
  readonly steps: number
  readonly bytesUp: number
  readonly bytesDown: number
}

/** Bytes that data parallelism would have sent and received. */
export const dataParallelBytes = (steps: number, parameters: number): number =>
  BYTES_A_STEP * steps * parameters

/** Data parallelism's bytes over those really sent and received; null when none were. */
export function timesLess({ steps, bytesUp, bytesDown }: Traffic, parameters: number): number | null {
  const sent = bytesUp + bytesDown
  return sent === 0 ? null : dataParallelBytes(steps, parameters) / sent
}
