/**
 * The Engine as a compiled WebGPU step: holds a replica's parameters and moments, and runs jobs on them by replaying plans.
 * What a step computes is in step.ts, how it is run in executor.ts; here they meet the interface. A device that does
 * not compute what the reference does is refused (selfTest.ts); tfjs/ takes over then.
 */
import type { ModelConfig } from '../../model/config.ts'
import { parameterCount } from '../../model/layout.ts'
import { badJob, checkIds, checkJob, checkLength, checkRanges, checkSequences } from '../checks.ts'
import { type Engine, EngineError } from '../engine.ts'
import { type OpenDevice, openDevice } from '../gpuDevice.ts'
import { runJob } from '../job.ts'
import { makePace } from '../pace.ts'
import type { Choices } from './choices.ts'
import { deviceExchange } from './exchange.ts'
import { evaluate, generate, tokenLosses } from './infer.ts'
import { UNMEASURED } from './longDispatches.ts'
import { makePlans, type PlanOptions } from './plans.ts'
import {
  bufferOf,
  disposeReplica,
  makeReplica,
  type Replica,
  read,
  readOptimiser,
  wholeOf,
  write,
  writeOptimiser,
} from './replica.ts'
import { trusted } from './selfTest.ts'
import { stepperOf } from './train.ts'
import { type Chosen, choose, type Memento } from './tune.ts'

export interface CompiledEngineOptions extends PlanOptions, Memento {
  readonly config: ModelConfig
  /**
   * Of the states between kernels. Default: f16 where the device has it and computes rightly with it (selfTest.ts).
   * Parameters, moments, gradients of parameters, statistics and losses are f32 in any case.
   */
  readonly precision?: 'f32' | 'f16'
  /** Instead of what is best on this device. */
  readonly choices?: Choices
}

export interface CompiledEngine extends Engine {
  /** On the device of gpuDevice.ts; where a tensor of the layout lies in them is state.ts's. For tfjs/onBuffers.ts. */
  parameterBuffers(): GPUBuffer[]
}

/**
 * A fresh engine has all parameters zero: call `setParameters` before anything else.
 * @throws EngineError `engine/backend-missing` when there is no device, or one that computes something else
 */
export async function createCompiledEngine(options: CompiledEngineOptions): Promise<CompiledEngine> {
  const { config } = options
  const open = await openDevice()
  const replica = await prepare(open, options).catch((error: unknown) => {
    open.release()
    throw error
  })
  const { state } = replica
  const plans = makePlans(replica, options)
  const [count, whole] = [parameterCount(config), wholeOf(config)]
  const pace = makePace()
  void open.lost.then(pace.stop)
  const exchange = deviceExchange(replica)
  let training = false
  return {
    backend: 'webgpu',
    config,
    ended: open.lost,
    setParameters(values, fragment = whole) {
      checkLength('parameters', values.length, checkRanges(fragment, count))
      write(replica, state.parameters, values, fragment)
    },
    getParameters: (fragment = whole) =>
      open.guard(async () => {
        checkRanges(fragment, count)
        return await read(replica, state.parameters, fragment)
      }),
    setOptimiserState(from) {
      checkLength('first moments', from.firstMoment.length, count)
      checkLength('second moments', from.secondMoment.length, count)
      writeOptimiser(replica, from)
    },
    parameterBuffers: () => state.parameters.map((tensor) => bufferOf(replica, tensor)),
    getOptimiserState: () => open.guard(() => readOptimiser(replica)),
    setResidual: exchange.setResidual,
    getResidual: exchange.getResidual,
    async contribution(request) {
      if (training) throw badJob('a job is under way; its gradients are where the base would go')
      return await exchange.contribution(request)
    },
    async train(job, listener) {
      checkJob(job, config)
      if (training) throw badJob('a job is under way already; wait for it or stop it')
      training = true
      try {
        return await open.guard(async () => {
          const ready = await plans.training(job)
          return await runJob(stepperOf(replica, job, ready), job, config.sequenceLength, pace, listener)
        })
      } finally {
        training = false
      }
    },
    pause: pace.pause,
    resume: pace.resume,
    stop: pace.stop,
    tokenLosses: (sequences) =>
      open.guard(async () => {
        checkSequences(sequences, config)
        return await tokenLosses(replica, await plans.evaluation(), sequences)
      }),
    evaluate: (sequences) =>
      open.guard(async () => {
        checkSequences(sequences, config)
        return await evaluate(replica, await plans.evaluation(), sequences)
      }),
    generate: (prompt, generateOptions) =>
      open.guard(async () => {
        if (prompt.length === 0) throw badJob('A prompt needs at least one token id.')
        checkIds(prompt, config)
        return await generate(replica, await plans.next(), prompt, generateOptions)
      }),
    dispose() {
      pace.stop()
      exchange.dispose()
      plans.dispose()
      disposeReplica(replica)
      open.release()
    },
  }
}

async function prepare(open: OpenDevice, options: CompiledEngineOptions): Promise<Replica> {
  const { config, precision } = options
  const { choices, speed } = await chosen(open, options)
  const usable = await trusted(open, choices)
  if (precision === 'f16' && usable.states !== 'f16')
    throw new EngineError(
      'engine/backend-missing',
      'This GPU has no 16-bit floats, or computes wrongly with them. Ask for f32.',
    )
  return makeReplica(config, open, usable, speed)
}

async function chosen(open: OpenDevice, options: CompiledEngineOptions): Promise<Chosen> {
  const { config, precision, choices: given } = options
  if (given) return { choices: given, speed: UNMEASURED }
  const { choices, speed } = await choose(open, config, options)
  return { choices: { ...choices, ...featuresUsed(open, precision) }, speed }
}

/** A GPU that is a program on the CPU has no narrower memory to gain from, and its subgroups are four threads. */
function featuresUsed({ software, features }: OpenDevice, precision: CompiledEngineOptions['precision']) {
  const halves = features.f16 && (precision === 'f16' || (precision === undefined && !software))
  return { states: halves ? 'f16' : 'f32', subgroups: features.subgroups && !software } as const
}
