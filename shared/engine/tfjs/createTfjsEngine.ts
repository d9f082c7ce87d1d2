/**
 * The Engine on TensorFlow.js: holds a replica's parameters and moments, and runs jobs on them. What a step
 * computes is in model.ts and the optimisers, a job's life in ../job.ts and ../pace.ts; here they meet the interface.
 */
import type { ModelConfig } from '../../model/config.ts'
import { type ParameterEntry, type ParameterRange, parameterLayout } from '../../model/layout.ts'
import { badJob, checkJob, checkLength, checkRanges } from '../checks.ts'
import type { Backend, Engine } from '../engine.ts'
import { hostExchange } from '../exchange.ts'
import { makePace } from '../pace.ts'
import { openBackend, type WasmPaths } from './backend.ts'
import { deviceAdamW } from './deviceAdamW.ts'
import { gpuAdamW } from './gpuAdamW.ts'
import { gpuKernels } from './gpuKernels.ts'
import { heapAdamW } from './heapAdamW.ts'
import { heapKernels } from './heapKernels.ts'
import { evaluate, generate, tokenLosses } from './infer.ts'
import type { Kernels } from './kernels.ts'
import { disposeConstants, makeConstants } from './model.ts'
import type { Optimiser } from './optimiser.ts'
import { plainKernels } from './plainKernels.ts'
import type { Replica } from './replica.ts'
import { train } from './train.ts'

/** The best implementation of AdamW on each backend. */
export const OPTIMISERS: Record<Backend, (layout: readonly ParameterEntry[]) => Optimiser> = {
  wasm: heapAdamW,
  webgpu: gpuAdamW,
  webgl: deviceAdamW,
}

export const KERNELS: Record<Backend, Kernels> = {
  wasm: heapKernels,
  webgpu: gpuKernels,
  webgl: plainKernels,
}

export interface TfjsEngineOptions {
  readonly backend: Backend
  readonly config: ModelConfig
  /** Where the .wasm files are; Node callers pass nodeWasmPaths() of nodeWasmPaths.ts. Read for wasm only. */
  readonly wasmPaths?: WasmPaths
  /** Makes each block's states again in the backward pass: a third more work, and less memory. Default: when large. */
  readonly recomputesBlocks?: boolean
}

/**
 * A fresh engine has all parameters zero: call `setParameters` before anything else.
 * `dispose` frees all tensors; the backend itself stays, so that another engine can use it.
 * @throws EngineError `engine/backend-missing`
 */
export async function createTfjsEngine(options: TfjsEngineOptions): Promise<Engine> {
  const { backend, config, wasmPaths, recomputesBlocks } = options
  const open = await openBackend(backend, wasmPaths)
  const optimiser = OPTIMISERS[backend](parameterLayout(config))
  const whole = [{ offset: 0, size: optimiser.size }]
  const constants = makeConstants(config, KERNELS[backend], recomputesBlocks ? 0 : undefined)
  const replica: Replica = { config, open, optimiser, constants }
  const pace = makePace()
  void open.lost.then(pace.stop)
  let training = false
  const getParameters = (fragment: readonly ParameterRange[]) =>
    open.guard(async () => {
      checkRanges(fragment, optimiser.size)
      return await optimiser.parameters(fragment)
    })
  return {
    ...hostExchange(config, getParameters),
    backend,
    config,
    ended: open.lost,
    setParameters(values, fragment = whole) {
      checkLength('parameters', values.length, checkRanges(fragment, optimiser.size))
      open.use()
      optimiser.setParameters(values, fragment)
    },
    getParameters: (fragment = whole) => getParameters(fragment),
    setOptimiserState(state) {
      checkLength('first moments', state.firstMoment.length, optimiser.size)
      checkLength('second moments', state.secondMoment.length, optimiser.size)
      open.use()
      optimiser.setState(state)
    },
    getOptimiserState: () => open.guard(() => optimiser.state()),
    async train(job, listener) {
      checkJob(job, config)
      if (training) throw badJob('a job is under way already; wait for it or stop it')
      training = true
      try {
        return await open.guard(() => train(replica, job, pace, listener))
      } finally {
        training = false
      }
    },
    pause: pace.pause,
    resume: pace.resume,
    stop: pace.stop,
    tokenLosses: (sequences) => tokenLosses(replica, sequences),
    evaluate: (sequences) => evaluate(replica, sequences),
    generate: (prompt, options) => generate(replica, prompt, options),
    dispose() {
      pace.stop()
      open.use()
      optimiser.dispose()
      disposeConstants(replica.constants)
    },
  }
}
