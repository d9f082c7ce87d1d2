/**
 * One inner step on a tiny model, compared with the reference in f64: a driver that compiles wrongly shows before anybody
 * trains on it. Once for each device. Odd sizes, so that edges of tiles and unaligned rows are among what is tested.
 */
import type { ModelConfig } from '../../model/config.ts'
import { initialParameters } from '../../model/initial.ts'
import { parameterLayout } from '../../model/layout.ts'
import { randomFrom } from '../../model/random.ts'
import { EngineError, type TrainJob } from '../engine.ts'
import { runJob } from '../job.ts'
import { makePace } from '../pace.ts'
import { referenceTrain } from '../reference.ts'
import type { Choices } from './choices.ts'
import type { OpenDevice } from './device.ts'
import { makePlans } from './plans.ts'
import { disposeReplica, makeReplica, read, readOptimiser, wholeOf, write } from './replica.ts'
import { stepperOf } from './train.ts'

const CONFIG: ModelConfig = {
  vocabSize: 67,
  layers: 1,
  heads: 3,
  dModel: 24,
  headDim: 8,
  hidden: 20,
  sequenceLength: 9,
}
/** ‖got − wanted‖/‖wanted‖ of any tensor's moment; f32 gives 2e-6, a wrong kernel 1e-2 and more. */
const TOLERANCE = 1e-4

const checked = new WeakMap<GPUDevice, Promise<void>>()

/** The self-test, once for each device. */
export function checkDevice(open: OpenDevice, choices: Choices): Promise<void> {
  const known = checked.get(open.device) ?? open.guard(() => selfTest(open, choices))
  checked.set(open.device, known)
  return known
}

/** @throws EngineError `engine/backend-missing` */
export async function selfTest(open: OpenDevice, choices: Choices): Promise<void> {
  const uniform = randomFrom('self-test')
  const start = initialParameters(CONFIG, 'self-test').map((value) =>
    value === 1 ? 0.5 + uniform() : 10 * value,
  )
  const length = 2 * (CONFIG.sequenceLength + 1)
  const sequences = Uint16Array.from({ length }, () => Math.floor(uniform() * CONFIG.vocabSize))
  const schedule = { firstStep: 0, totalSteps: 10, peakLearningRate: 1e-3 }
  const job: TrainJob = { sequences, steps: 1, batchSize: 2, ...schedule }
  const wanted = referenceTrain(CONFIG, start, job)
  const got = await oneStep(open, choices, start, job)
  refuseIfFar('the loss', [got.loss], wanted.losses)
  for (const { name, offset, size } of parameterLayout(CONFIG)) {
    const part = <A extends Float32Array | Float64Array>(all: A) => all.subarray(offset, offset + size)
    refuseIfFar(`the gradient of ${name}`, part(got.firstMoment), part(wanted.first))
    refuseIfFar(name, part(got.parameters), part(wanted.parameters))
  }
}

async function oneStep(open: OpenDevice, choices: Choices, start: Float32Array, job: TrainJob) {
  const replica = makeReplica(CONFIG, open, choices)
  const plans = makePlans(replica, {})
  try {
    write(replica, replica.state.parameters, start, wholeOf(CONFIG))
    const stepper = stepperOf(replica, job, await plans.training(job))
    const { meanLoss } = await runJob(stepper, job, CONFIG.sequenceLength, makePace())
    const { firstMoment } = await readOptimiser(replica)
    const parameters = await read(replica, replica.state.parameters, wholeOf(CONFIG))
    return { loss: meanLoss, firstMoment, parameters }
  } finally {
    plans.dispose()
    disposeReplica(replica)
  }
}

function refuseIfFar(what: string, got: ArrayLike<number>, wanted: ArrayLike<number>): void {
  let [difference, size] = [0, 0]
  for (let i = 0; i < wanted.length; i++) {
    difference += ((got[i] as number) - (wanted[i] as number)) ** 2 // as many of both
    size += (wanted[i] as number) ** 2
  }
  const error = Math.sqrt(difference / size)
  if (error < TOLERANCE) return
  throw new EngineError(
    'engine/backend-missing',
    `This GPU computes ${what} wrongly (off by ${error.toExponential(1)} in the self-test): it is not used. Another backend can be.`,
  )
}
