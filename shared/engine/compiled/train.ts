/** The steps of a job on a replica: ids up, plans replayed, the meter read now and then. ../job.ts has the job's life. */
import { updateNumbers } from '../adamw.ts'
import type { TrainJob } from '../engine.ts'
import type { Reading, Stepper } from '../job.ts'
import { innerLearningRate, localWarmup } from '../schedule.ts'
import { hostBatch } from './batch.ts'
import { stepNumbers } from './kernels/crossEntropy.ts'
import type { Ready } from './plans.ts'
import { bufferOf, type Replica, read, readOptimiser, wholeOf } from './replica.ts'
import type { TrainingPlan } from './step.ts'

export function stepperOf(replica: Replica, job: TrainJob, ready: Ready<TrainingPlan>): Stepper {
  const { state, config, open } = replica
  const meter = bufferOf(replica, state.meter)
  const clear = () => open.device.queue.writeBuffer(meter, 0, new Float32Array(state.meter.size))
  clear()
  return {
    take: (step) => innerStep(replica, job, ready, step),
    async read(): Promise<Reading> {
      const reading = replica.meter.read(meter)
      clear() // after the copy that has just been submitted
      const [losses = Number.NaN, norms = Number.NaN, loss = Number.NaN] = await reading
      return { losses, norms, loss }
    },
    async snapshot() {
      const parameters = read(replica, state.parameters, wholeOf(config))
      const optimiser = readOptimiser(replica)
      return { parameters: await parameters, optimiser: await optimiser }
    },
  }
}

/** The gradients of all micro-batches, then one update. */
function innerStep(
  replica: Replica,
  job: TrainJob,
  { plan, executable }: Ready<TrainingPlan>,
  step: number,
): void {
  const { config, open } = replica
  const { queue } = open.device
  const { batchSize, microBatch = batchSize } = job
  const perSequence = config.sequenceLength + 1
  queue.writeBuffer(bufferOf(replica, replica.state.numbers), 0, numbersOf(replica, job, step))
  executable.begin()
  for (let done = 0; done < batchSize; done += microBatch) {
    const from = (step * batchSize + done) * perSequence
    const sequences = job.sequences.subarray(from, from + microBatch * perSequence)
    const { ids, order, starts } = hostBatch(sequences, config.sequenceLength, config.vocabSize)
    queue.writeBuffer(executable.bufferOf(plan.inputs.ids), 0, ids)
    queue.writeBuffer(executable.bufferOf(plan.inputs.order), 0, order)
    queue.writeBuffer(executable.bufferOf(plan.inputs.starts), 0, starts)
    executable.pass()
  }
  executable.update()
  replica.updates++
}

function numbersOf(replica: Replica, job: TrainJob, step: number): Float32Array<ArrayBuffer> {
  const rate = innerLearningRate(job.firstStep + step, job.totalSteps, job.peakLearningRate)
  const warm = rate * localWarmup(replica.updates)
  const factors = updateNumbers(warm, 1 / job.totalSteps, replica.updates + 1)
  const rows = job.batchSize * replica.config.sequenceLength
  return stepNumbers({ ...factors, rows }, replica.choices.states)
}
