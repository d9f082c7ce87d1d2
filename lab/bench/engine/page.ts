/**
 * The page that host.ts drives: it holds one Worker with one contestant at a time. What comes from Node comes as
 * plain JSON; the initial weights, which are large, are fetched.
 */
import { type Remote, wrap } from 'comlink'
import { chooseBackend } from '../../../client/worker/chooseBackend.ts'
import type { TimedStep } from '../../../shared/engine/measure.ts'
import type { ModelConfig } from '../../../shared/model/config.ts'
import type { ContestantOptions, EngineName } from './contestant.ts'
import type { ContestantService, Counts } from './contestants.worker.ts'

export interface BenchPage {
  /** Starts a Worker with the contestant in it; `parametersUrl` serves the initial weights as little-endian f32. */
  open(
    engine: EngineName,
    options: Omit<ContestantOptions, 'parameters'>,
    parametersUrl: string,
  ): Promise<void>
  step(sequences: readonly number[], step: number): Promise<TimedStep>
  counts(): Promise<Counts>
  /** What a volunteer's page does before its first step, with an empty memory: seconds, and what it chose. */
  calibrate(config: ModelConfig, batchSize: number): Promise<Calibration>
  /** Ends the Worker, whatever it is doing. */
  close(): void
}

export interface Calibration {
  seconds: number
  backend: string
  microBatch: number
}

interface Running {
  worker: Worker
  service: Remote<ContestantService>
  /** Rejects when the Worker fails. */
  failed: Promise<never>
}

let running: Running | null = null

function start(): Running {
  const worker = new Worker(new URL('./contestants.worker.ts', import.meta.url), { type: 'module' })
  const failed = new Promise<never>((_, reject) => {
    worker.addEventListener('error', ({ message }) =>
      reject(new Error(`The contestant's Worker failed: ${message || 'its script did not load'}`)),
    )
  })
  failed.catch(() => {}) // nobody may be waiting
  return { worker, service: wrap<ContestantService>(worker), failed }
}

const page: BenchPage = {
  async open(engine, options, parametersUrl) {
    if (running !== null) throw new Error('Close the contestant that is open first.')
    const response = await fetch(parametersUrl)
    const parameters = new Float32Array(await response.arrayBuffer())
    running = start()
    try {
      await Promise.race([running.failed, running.service.open(engine, { ...options, parameters })])
    } catch (error) {
      page.close()
      throw error
    }
  },
  async step(sequences, step) {
    if (running === null) throw new Error('No contestant is open.')
    return Promise.race([running.failed, running.service.step(Uint16Array.from(sequences), step)])
  },
  async counts() {
    if (running === null) throw new Error('No contestant is open.')
    return running.service.counts()
  },
  async calibrate(config, batchSize) {
    localStorage.clear()
    const from = performance.now()
    const { backend, microBatch } = await chooseBackend(config, { batchSize })
    return { seconds: (performance.now() - from) / 1_000, backend, microBatch }
  },
  close() {
    running?.worker.terminate()
    running = null
  },
}

declare global {
  interface Window {
    potluckBench: BenchPage
  }
}

window.potluckBench = page
