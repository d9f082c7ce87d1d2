/** One job of inner steps on a replica: batches in, updates made, the loss read about once a second. */
import * as tf from '@tensorflow/tfjs-core'
import { EngineError, type TrainJob, type TrainProgress, type TrainResult } from '../engine.ts'
import { innerLearningRate, localWarmup } from '../schedule.ts'
import { type Batch, trainingPass } from './model.ts'
import type { Pace } from './pace.ts'
import type { Replica } from './replica.ts'

/** Seconds between two readings of the loss; each waits for the device, and bounds the work queued on it. */
const READ_EVERY = 1

export async function train(
  replica: Replica,
  job: TrainJob,
  pace: Pace,
  onProgress?: (progress: TrainProgress) => void,
): Promise<TrainResult> {
  const tokensPerStep = job.batchSize * replica.config.sequenceLength
  const meter = makeLossMeter()
  pace.begin()
  let step = 0
  let nextRead = 1
  let lastRead = { step: 0, seconds: 0 }
  const report = async () => {
    const loss = await replica.open.guard(() => meter.read()) // device → CPU
    if (!Number.isFinite(loss)) throw notFinite(loss, job.firstStep + step)
    onProgress?.({ step, steps: job.steps, loss, tokensPerSecond: (step * tokensPerStep) / pace.seconds() })
    nextRead = step + stepsToNextRead(step - lastRead.step, pace.seconds() - lastRead.seconds)
    lastRead = { step, seconds: pace.seconds() }
  }
  try {
    while (step < job.steps && (await pace.next())) {
      replica.open.use()
      tf.tidy(() => meter.add(innerStep(replica, job, step)))
      step++
      if (step >= nextRead || step === job.steps) await report()
    }
    if (meter.unread()) await report()
    const meanLoss = step === 0 ? 0 : meter.total() / step
    return { steps: step, tokens: step * tokensPerStep, meanLoss, seconds: pace.seconds() }
  } finally {
    meter.dispose()
    pace.end()
  }
}

/** As many steps as fit READ_EVERY at the pace since the last reading, at most twice as many as then. */
function stepsToNextRead(steps: number, seconds: number): number {
  return Math.max(1, Math.min(2 * steps, Math.floor((READ_EVERY * steps) / seconds)))
}

/** Takes one inner step; the loss is from before its update. */
function innerStep({ config, constants, optimiser }: Replica, job: TrainJob, step: number): tf.Scalar {
  const from = step * job.batchSize * (config.sequenceLength + 1)
  const to = from + job.batchSize * (config.sequenceLength + 1)
  const batch = toBatch(job.sequences.subarray(from, to), config.sequenceLength)
  const { loss, gradients } = trainingPass(optimiser.tensors(), batch, constants)
  const rate = innerLearningRate(job.firstStep + step, job.totalSteps, job.peakLearningRate)
  optimiser.step(gradients, rate * localWarmup(optimiser.updates()), 1 / job.totalSteps)
  return loss
}

/** Whole sequences of length + 1 ids → inputs and the ids that follow them. */
export function toBatch(sequences: Uint16Array, length: number): Batch {
  const count = sequences.length / (length + 1)
  const inputs = new Int32Array(count * length)
  const targets = new Int32Array(count * length)
  for (let s = 0; s < count; s++) {
    const from = s * (length + 1)
    inputs.set(sequences.subarray(from, from + length), s * length)
    targets.set(sequences.subarray(from + 1, from + length + 1), s * length)
  }
  return { inputs: tf.tensor1d(inputs, 'int32'), targets: tf.tensor1d(targets, 'int32') }
}

function notFinite(loss: number, globalStep: number): EngineError {
  return new EngineError(
    'engine/not-finite',
    `The loss is ${loss} at global step ${globalStep}: the parameters and moments of this engine are spoilt. Set both again.`,
  )
}

/** Adds losses up on the device between readings and in f64 across them: the mean is over every step. */
function makeLossMeter() {
  let total = 0
  let sum: tf.Scalar | null = null
  let last: tf.Scalar | null = null
  const clear = () => {
    tf.dispose([sum, last].filter((t) => t !== null))
    sum = last = null
  }
  return {
    add(loss: tf.Scalar) {
      const next = tf.keep(sum === null ? tf.clone(loss) : tf.add<tf.Scalar>(sum, loss))
      clear()
      sum = next
      last = tf.keep(tf.clone(loss))
    },
    unread: () => sum !== null,
    total: () => total,
    /** The last step's loss; also what bounds the queue of unfinished steps. */
    async read(): Promise<number> {
      if (sum === null || last === null) return Number.NaN
      const both = tf.tidy(() => tf.stack([sum, last].filter((t) => t !== null)))
      const [added = Number.NaN, latest = Number.NaN] = await both.data()
      both.dispose()
      clear()
      total += added
      return latest
    },
    dispose: clear,
  }
}
