/** One job of inner steps on a replica: batches in, updates made, the loss read about once a second. */
import * as tf from '@tensorflow/tfjs-core'
import { EngineError, type TrainJob, type TrainListener, type TrainResult } from '../engine.ts'
import { innerLearningRate, localWarmup } from '../schedule.ts'
import { type Batch, trainingPass } from './model.ts'
import type { Pace } from './pace.ts'
import type { Replica } from './replica.ts'

/** Seconds between two readings of the loss; each waits for the device, and bounds the work queued on it. */
const READ_EVERY = 1
const SNAPSHOT_EVERY = 10
/** Seconds of training for each second spent on snapshots, at least. */
const TRAINING_PER_SNAPSHOT = 20

export async function train(
  replica: Replica,
  job: TrainJob,
  pace: Pace,
  listener: TrainListener = {},
): Promise<TrainResult> {
  const tokensPerStep = job.batchSize * replica.config.sequenceLength
  const meter = makeMeter()
  const snapshots = makeSnapshots(replica, listener)
  pace.begin()
  let step = 0
  let nextRead = 1
  let lastRead = { step: 0, seconds: 0 }
  const soFar = (): TrainResult => ({
    steps: step,
    tokens: step * tokensPerStep,
    meanLoss: step === 0 ? 0 : meter.total() / step,
    seconds: pace.seconds(),
  })
  const report = async () => {
    const { loss, norms } = await meter.read() // device → CPU
    if (!Number.isFinite(loss + norms)) throw notFinite(loss, job.firstStep + step)
    const { steps } = job
    listener.progress?.({ step, steps, loss, tokensPerSecond: (step * tokensPerStep) / pace.seconds() })
    if (step < steps) await snapshots.offer(soFar)
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
    return soFar()
  } finally {
    meter.dispose()
    pace.end()
  }
}

/** As many steps as fit READ_EVERY at the pace since the last reading, at most twice as many as then. */
function stepsToNextRead(steps: number, seconds: number): number {
  return Math.max(1, Math.min(2 * steps, Math.floor((READ_EVERY * steps) / seconds)))
}

interface StepNumbers {
  /** Cross entropy before the update. */
  readonly loss: tf.Scalar
  /** The gradient's norm before clipping. */
  readonly norm: tf.Scalar
}

/** Takes one inner step: the gradients of all micro-batches, then one update. */
function innerStep({ config, constants, optimiser }: Replica, job: TrainJob, step: number): StepNumbers {
  const { batchSize, microBatch = batchSize } = job
  const tensors = optimiser.tensors()
  let sum: Pass | null = null
  for (let done = 0; done < batchSize; done += microBatch) {
    const from = (step * batchSize + done) * (config.sequenceLength + 1)
    const to = from + microBatch * (config.sequenceLength + 1)
    const batch = toBatch(job.sequences.subarray(from, to), config.sequenceLength)
    const before: Pass | null = sum
    sum = tf.tidy(() => {
      const pass = trainingPass(tensors, batch, constants, batchSize * config.sequenceLength)
      return before === null ? pass : added(before, pass)
    })
    tf.dispose([batch.inputs, batch.targets])
  }
  const { loss, gradients } = sum as Pass // a batch has at least one micro-batch
  const rate = innerLearningRate(job.firstStep + step, job.totalSteps, job.peakLearningRate)
  const norm = optimiser.step(gradients, rate * localWarmup(optimiser.updates()), 1 / job.totalSteps)
  return { loss, norm }
}

type Pass = { loss: tf.Scalar; gradients: tf.Tensor[] }

/** Disposes both as it goes, so that no third copy of the gradients is ever whole. */
function added(a: Pass, b: Pass): Pass {
  const plus = <T extends tf.Tensor>(x: T, y: T): T => {
    const sum = tf.add<T>(x, y)
    tf.dispose([x, y])
    return sum
  }
  const gradients = a.gradients.map((gradient, i) => plus(gradient, b.gradients[i] as tf.Tensor)) // one layout
  return { loss: plus(a.loss, b.loss), gradients }
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
  const what = Number.isFinite(loss) ? 'The gradient is no number' : `The loss is ${loss}`
  return new EngineError(
    'engine/not-finite',
    `${what} at global step ${globalStep}: the parameters and moments of this engine are spoilt. Set both again.`,
  )
}

/** Adds losses up on the device between readings and in f64 across them: the mean is over every step. */
function makeMeter() {
  let total = 0
  /** Sum of the losses, sum of the norms, the last loss. */
  let kept: tf.Scalar[] = []
  const keep = (next: tf.Scalar[]) => {
    tf.dispose(kept)
    kept = next.map((scalar) => tf.keep(scalar))
  }
  return {
    add({ loss, norm }: StepNumbers) {
      const [losses, norms] = kept
      keep([
        losses ? tf.add<tf.Scalar>(losses, loss) : tf.clone(loss),
        norms ? tf.add<tf.Scalar>(norms, norm) : tf.clone(norm),
        tf.clone(loss),
      ])
    },
    unread: () => kept.length > 0,
    total: () => total,
    /** The last step's loss, and the sum of the norms since the last reading, which is no number if one was not. */
    async read() {
      if (kept.length === 0) return { loss: Number.NaN, norms: Number.NaN }
      const all = tf.tidy(() => tf.stack(kept))
      const [losses = Number.NaN, norms = Number.NaN, loss = Number.NaN] = await all.data()
      all.dispose()
      keep([])
      total += losses
      return { loss, norms }
    },
    dispose: () => keep([]),
  }
}

function makeSnapshots(
  { optimiser }: Replica,
  { snapshot, snapshotSeconds = SNAPSHOT_EVERY }: TrainListener,
) {
  const whole = [{ offset: 0, size: optimiser.size }]
  let nextAt = snapshotSeconds
  return {
    async offer(soFar: () => TrainResult) {
      const result = soFar()
      if (snapshot === undefined || result.seconds < nextAt) return
      const [parameters, state] = await Promise.all([optimiser.parameters(whole), optimiser.state()]) // device → CPU
      snapshot({ soFar: result, parameters, optimiser: state })
      const { seconds } = soFar()
      nextAt = seconds + Math.max(snapshotSeconds, TRAINING_PER_SNAPSHOT * (seconds - result.seconds))
    },
  }
}
