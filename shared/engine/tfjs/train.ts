/** The steps of a job on a replica: batches in, updates made, losses added up on the device. ../job.ts has the job's life. */
import * as tf from '@tensorflow/tfjs-core'
import type { TrainJob, TrainListener, TrainResult } from '../engine.ts'
import { type Reading, runJob } from '../job.ts'
import type { Pace } from '../pace.ts'
import { innerLearningRate, localWarmup } from '../schedule.ts'
import { type Batch, trainingPass } from './model.ts'
import type { Replica } from './replica.ts'

export async function train(
  replica: Replica,
  job: TrainJob,
  pace: Pace,
  listener?: TrainListener,
): Promise<TrainResult> {
  const { optimiser, open, config } = replica
  const meter = makeMeter()
  const whole = [{ offset: 0, size: optimiser.size }]
  const stepper = {
    take(step: number) {
      open.use()
      tf.tidy(() => meter.add(innerStep(replica, job, step)))
    },
    read: meter.read,
    async snapshot() {
      const [parameters, state] = await Promise.all([optimiser.parameters(whole), optimiser.state()])
      return { parameters, optimiser: state }
    },
  }
  try {
    return await runJob(stepper, job, config.sequenceLength, pace, listener)
  } finally {
    meter.dispose()
  }
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

/** Adds losses and norms up on the device between readings. */
function makeMeter() {
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
    async read(): Promise<Reading> {
      const all = tf.tidy(() => tf.stack(kept))
      const [losses = Number.NaN, norms = Number.NaN, loss = Number.NaN] = await all.data()
      all.dispose()
      keep([])
      return { losses, norms, loss }
    },
    dispose: () => keep([]),
  }
}
