/**
 * The Worker that runs one contestant and times its steps. Each engine is imported when it is opened, and a Worker
 * opens one in its life, so that none sees what another has registered.
 */
import { expose } from 'comlink'
// The page's end has it too (chooseBackend.ts), and both ends must read errors alike.
import '../../../client/worker/engineErrors.ts'
import type { TimedStep } from '../../../shared/engine/measure.ts'
import { browserWasmPaths } from '../../../shared/engine/tfjs/browserWasmPaths.ts'
import { meterBuffers } from '../../../shared/engine/tfjs/memoryMeter.ts'
import type { ContestantOptions, EngineName, OpenContestant } from './contestant.ts'
import { countDispatches } from './countDispatches.ts'

const openers: Record<EngineName, () => Promise<OpenContestant>> = {
  tfjs: async () => {
    const { openOurs } = await import('./ours.ts')
    return (options) => openOurs(options, browserWasmPaths)
  },
  compiled: async () => (await import('./ours.ts')).openCompiled,
  'stock-tfjs': async () => (await import('./peers/stockTfjs.ts')).openStockTfjs,
  'jax-js': async () => (await import('./peers/jaxJs.ts')).openJaxJs,
}

const makeService = async (engine: EngineName, options: ContestantOptions) => {
  const open = await openers[engine]()
  return open(options)
}

/** Before anything asks for a device. */
const dispatches = countDispatches()
const buffers = meterBuffers()

let opened: ReturnType<typeof makeService> | null = null

const service = {
  /** Once, before anything else. */
  async open(engine: EngineName, options: ContestantOptions): Promise<void> {
    if (opened !== null) throw new Error('internal: a second contestant in one Worker')
    opened = makeService(engine, options)
    await opened
  },
  async step(sequences: Uint16Array, step: number): Promise<TimedStep> {
    const contestant = await opened
    if (contestant === null) throw new Error('internal: a step before open()')
    const from = performance.now()
    const loss = await contestant.step(sequences, step)
    return { loss, milliseconds: performance.now() - from }
  },
  /** Since the Worker began; what a backend does not have, or an engine does not tell, is null. */
  async counts(): Promise<Counts> {
    const contestant = await opened
    const onDevice = buffers.peak()
    return {
      dispatches: dispatches(),
      peakBytes: onDevice > 0 ? onDevice : (contestant?.peakBytes?.() ?? null),
    }
  },
}

/** What an engine has used. */
export interface Counts {
  /** Compute dispatches on WebGPU. */
  dispatches: number
  /** The most memory held: buffers on WebGPU, tensors elsewhere. */
  peakBytes: number | null
}

export type ContestantService = typeof service

expose(service)
