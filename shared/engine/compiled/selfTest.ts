/**
 * One inner step on a tiny model, compared with the reference in f64: a driver that compiles wrongly shows before anybody
 * trains on it. Once for each device. Odd sizes, so that edges of tiles and unaligned rows are among what is tested.
 */
import type { ModelConfig } from '../../model/config.ts'
import { initialParameters } from '../../model/initial.ts'
import { parameterLayout } from '../../model/layout.ts'
import { randomFrom } from '../../model/random.ts'
import { EngineError, type TrainJob } from '../engine.ts'
import type { OpenDevice } from '../gpuDevice.ts'
import { runJob } from '../job.ts'
import { makePace } from '../pace.ts'
import { referenceTrain } from '../reference.ts'
import type { Choices } from './choices.ts'
import type { Element } from './kernel.ts'
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
/**
 * ‖got − wanted‖/‖wanted‖ of any tensor's moment; f32 gives 2e-6, a wrong kernel 1e-2 and more. States in f16 are rounded by
 * up to 2⁻¹¹ = 5e-4 each time one is written, a dozen times between the ids and a gradient and back: √12 · 3e-4 = 1e-3 if
 * nothing cancels, 2.4e-3 as measured. So coarse a test is passed by some that are wrong, therefore f32, which is the same
 * kernels but for loads and stores, must have passed first.
 */
const TOLERANCE: Record<Element, number> = { f32: 1e-4, f16: 1e-2, rounded: 1e-2 }

const checked = new WeakMap<GPUDevice, Map<string, Promise<Choices>>>()

/**
 * The choices, or those without the features that are not right on this device: once for each device and kind of choices.
 * @throws EngineError `engine/backend-missing` when it is wrong without features too
 */
export function trusted(open: OpenDevice, choices: Choices): Promise<Choices> {
  const known = checked.get(open.device) ?? new Map<string, Promise<Choices>>()
  checked.set(open.device, known)
  const key = `${choices.states} ${choices.subgroups}`
  const found = known.get(key) ?? open.guard(() => mostThatPasses(open, choices))
  known.set(key, found)
  // Of another engine the tile may be another.
  return found.then(({ states, subgroups }) => ({ ...choices, states, subgroups }))
}

/** f32 and f16 are tested side by side, because most of the time goes to compiling. */
async function mostThatPasses(open: OpenDevice, choices: Choices): Promise<Choices> {
  const single: Choices = { ...choices, states: 'f32' }
  const [right, rightInHalf] = await Promise.all([
    choices.subgroups ? passes(open, single) : selfTest(open, single).then(() => true),
    choices.states !== 'f32' && passes(open, choices),
  ])
  if (!right) return await mostThatPasses(open, { ...choices, subgroups: false })
  return rightInHalf ? choices : single
}

/** A device that was lost is lost for all choices. */
async function passes(open: OpenDevice, choices: Choices): Promise<boolean> {
  try {
    await selfTest(open, choices)
    return true
  } catch (error) {
    if (!(error instanceof EngineError) || error.code !== 'engine/backend-missing') throw error
    return false
  }
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
  const refuseIfFar = refuser(TOLERANCE[choices.states])
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

function refuser(tolerance: number) {
  return (what: string, got: ArrayLike<number>, wanted: ArrayLike<number>): void => {
    const error = distance(got, wanted)
    if (error < tolerance) return
    throw new EngineError(
      'engine/backend-missing',
      `This GPU computes ${what} wrongly (off by ${error.toExponential(1)} in the self-test): the fast engine is not used on it.`,
    )
  }
}

function distance(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  let [difference, size] = [0, 0]
  for (let i = 0; i < wanted.length; i++) {
    difference += ((got[i] as number) - (wanted[i] as number)) ** 2 // as many of both
    size += (wanted[i] as number) ** 2
  }
  return Math.sqrt(difference / size)
}
