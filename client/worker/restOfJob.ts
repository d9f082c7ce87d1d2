/** What is left of a job after some of its steps, and one result of two parts. Pure. */
import type { TrainJob, TrainResult } from '../../shared/engine/engine.ts'
import type { ModelConfig } from '../../shared/model/config.ts'

export const NOTHING_DONE: TrainResult = { steps: 0, tokens: 0, meanLoss: 0, seconds: 0 }

/** The job without its first `done` steps, which another engine has taken. */
export function restOf(job: TrainJob, done: number, { sequenceLength }: ModelConfig): TrainJob {
  const from = done * job.batchSize * (sequenceLength + 1)
  return {
    ...job,
    sequences: job.sequences.subarray(from),
    steps: job.steps - done,
    firstStep: job.firstStep + done,
  }
}

/** The mean loss is weighted by tokens. */
export function merged(a: TrainResult, b: TrainResult): TrainResult {
  const tokens = a.tokens + b.tokens
  return {
    steps: a.steps + b.steps,
    tokens,
    meanLoss: tokens === 0 ? 0 : (a.meanLoss * a.tokens + b.meanLoss * b.tokens) / tokens,
    seconds: a.seconds + b.seconds,
  }
}
