/**
 * The Worker that runs one contestant and times its steps. Each engine is imported when it is opened, and a Worker
 * opens one in its life, so that none sees what another has registered.
 */
import { expose } from 'comlink'
import type { ContestantOptions, EngineName, OpenContestant } from './contestant.ts'

const openers: Record<EngineName, () => Promise<OpenContestant>> = {
  tfjs: async () => (await import('./ours.ts')).openOurs,
  'stock-tfjs': async () => (await import('./peers/stockTfjs.ts')).openStockTfjs,
  'jax-js': async () => (await import('./peers/jaxJs.ts')).openJaxJs,
}

const makeService = async (engine: EngineName, options: ContestantOptions) => {
  const open = await openers[engine]()
  return open(options)
}

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
}

export interface TimedStep {
  loss: number
  /** Wall time of the step inside the Worker. */
  milliseconds: number
}

export type ContestantService = typeof service

expose(service)
