/**
 * One job of inner steps, whatever computes them: when the next may begin, when the loss is read (about once a second),
 * who hears of it, when a snapshot is made, and how it all ends. An engine brings the steps.
 */
import {
  EngineError,
  type OptimiserState,
  type TrainJob,
  type TrainListener,
  type TrainResult,
} from './engine.ts'
import type { Pace } from './pace.ts'

/** Seconds between two readings of the loss; each waits for the device, and bounds the work queued on it. */
const READ_EVERY = 1
const SNAPSHOT_EVERY = 10
/** Seconds of training for each second spent on snapshots, at least. */
const TRAINING_PER_SNAPSHOT = 20

/** What an engine brings to a job. */
export interface Stepper {
  /** Takes step number `step` of the job; the device may still be at work when it returns. */
  take(step: number): void
  /** Waits for the device, and begins to count anew. */
  read(): Promise<Reading>
  /** Of this moment, whatever is taken later. */
  snapshot(): Promise<{ parameters: Float32Array<ArrayBuffer>; optimiser: OptimiserState }>
}

/** Of the steps since the last reading. */
export interface Reading {
  /** Sum of their losses: cross entropies before their updates. */
  readonly losses: number
  /** Sum of the gradients' norms before clipping. */
  readonly norms: number
  /** The last step's loss. */
  readonly loss: number
}

export async function runJob(
  stepper: Stepper,
  job: TrainJob,
  sequenceLength: number,
  pace: Pace,
  listener: TrainListener = {},
): Promise<TrainResult> {
  const tokensPerStep = job.batchSize * sequenceLength
  const snapshots = makeSnapshots(stepper, listener)
  pace.begin()
  let step = 0
  let total = 0
  let nextRead = 1
  let lastRead = { step: 0, seconds: 0 }
  const soFar = (): TrainResult => ({
    steps: step,
    tokens: step * tokensPerStep,
    meanLoss: step === 0 ? 0 : total / step,
    seconds: pace.seconds(),
  })
  const report = async () => {
    const { losses, norms, loss } = await stepper.read() // device → CPU
    total += losses // in f64: the mean is over every step
    if (!Number.isFinite(loss + norms)) throw notFinite(loss, job.firstStep + step)
    const { steps } = job
    listener.progress?.({ step, steps, loss, tokensPerSecond: (step * tokensPerStep) / pace.seconds() })
    if (step < steps) await snapshots.offer(soFar)
    nextRead = step + stepsToNextRead(step - lastRead.step, pace.seconds() - lastRead.seconds)
    lastRead = { step, seconds: pace.seconds() }
  }
  try {
    while (step < job.steps && (await pace.next())) {
      stepper.take(step)
      step++
      if (step >= nextRead || step === job.steps) await report()
    }
    if (step > lastRead.step) await report()
    return soFar()
  } finally {
    pace.end()
  }
}

/** As many steps as fit READ_EVERY at the pace since the last reading, at most twice as many as then. */
function stepsToNextRead(steps: number, seconds: number): number {
  return Math.max(1, Math.min(2 * steps, Math.floor((READ_EVERY * steps) / seconds)))
}

function notFinite(loss: number, globalStep: number): EngineError {
  const what = Number.isFinite(loss) ? 'The gradient is no number' : `The loss is ${loss}`
  return new EngineError(
    'engine/not-finite',
    `${what} at global step ${globalStep}: the parameters and moments of this engine are spoilt. Set both again.`,
  )
}

function makeSnapshots(stepper: Stepper, { snapshot, snapshotSeconds = SNAPSHOT_EVERY }: TrainListener) {
  let nextAt = snapshotSeconds
  return {
    async offer(soFar: () => TrainResult) {
      const result = soFar()
      if (snapshot === undefined || result.seconds < nextAt) return
      snapshot({ soFar: result, ...(await stepper.snapshot()) }) // device → CPU
      const { seconds } = soFar()
      nextAt = seconds + Math.max(snapshotSeconds, TRAINING_PER_SNAPSHOT * (seconds - result.seconds))
    },
  }
}
