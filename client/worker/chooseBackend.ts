/**
 * Which backend trains this run fastest on this device, and how many sequences it computes at once: what fits the
 * memory, and a short real measurement of what is worth measuring, remembered for the next visit. A GPU API that runs on
 * the CPU is not measured, because wasm is faster there (SwiftShader 4,400 against 19,000 tokens/s for `nano`). What the
 * browser has is asked in adapters.ts.
 */
import { BACKENDS, type Backend, EngineError } from '../../shared/engine/engine.ts'
import type { ModelConfig } from '../../shared/model/config.ts'
import type { BackendChoice } from '../swarm/view.ts'
import { type Adapter, type Adapters, findAdapters } from './adapters.ts'
import { budgetOf, type DeviceMemory, type Fit, fitsOf, leastBytes } from './fit.ts'
import { type BackendSpeed, measureBackend } from './measureBackend.ts'
import type { EngineNews } from './openEngine.ts'
import { safeStorage } from './tuning.ts'

export interface ChooseOptions {
  /** Sequences in one inner step of the run. */
  readonly batchSize: number
  /** Told before each measurement. */
  readonly onTesting?: (backend: Backend) => void
  readonly signal?: AbortSignal
  /** Told while one is measured. */
  readonly news?: EngineNews
}

/** What the choice needs of the browser; tests put their own in. */
export interface ChoiceWorld {
  findAdapters(): Promise<Adapters>
  /** The fastest of the fits; rejects when the backend does not work or is too slow to tell. */
  measure(
    backend: Backend,
    config: ModelConfig,
    fits: readonly Fit[],
    signal?: AbortSignal,
    news?: EngineNews,
  ): Promise<BackendSpeed>
  readonly memory: DeviceMemory
  readonly userAgent: string
  /** null where the browser refuses storage. */
  readonly storage: Pick<Storage, 'getItem' | 'setItem'> | null
}

/** Raised when the engine's speed or the format changes. */
const STORAGE_PREFIX = 'potluck/backend/6/'

/** The same GPU, three times slower (274 against 889 ms a step of a small GPT on an integrated one, by DISCO). */
const SECOND_TO_WEBGPU: Adapter = { usable: false, text: 'WebGPU works here and is faster' }

/** @throws EngineError `engine/backend-missing` when none works; what `signal` carries when aborted. */
export async function chooseBackend(
  config: ModelConfig,
  options: ChooseOptions,
  world: ChoiceWorld = browserWorld(),
): Promise<BackendChoice> {
  const adapters = await world.findAdapters()
  const key =
    STORAGE_PREFIX + JSON.stringify([config, options.batchSize, world.userAgent, world.memory, adapters])
  const remembered = recall(world.storage, key)
  if (remembered) return remembered
  const measurements: Measurement[] = []
  for (const backend of BACKENDS) {
    const webgpu = measurements.find((one) => one.backend === 'webgpu')
    const known =
      backend === 'webgl' && webgpu?.tokensPerSecond ? { ...adapters, webgl: SECOND_TO_WEBGPU } : adapters
    measurements.push(await consider(backend, known, config, options, world))
  }
  const choice = fastest(measurements)
  remember(world.storage, key, choice)
  return choice
}

type Measurement = BackendChoice['measurements'][number]

async function consider(
  backend: Backend,
  adapters: Adapters,
  config: ModelConfig,
  { batchSize, onTesting, signal, news }: ChooseOptions,
  world: ChoiceWorld,
): Promise<Measurement> {
  const adapter = adapters[backend]
  const fits = fitsOf(config, batchSize, backend, world.memory)
  // Should it come to this backend unmeasured, it computes as little at once as there is.
  const [least = { microBatch: 1, peakBytes: leastBytes(config, batchSize, backend) }] = fits
  const unmeasured = (why: string) => ({
    backend,
    ...least,
    tokensPerSecond: null,
    note: why,
  })
  if (!adapter.usable) return unmeasured(`${adapter.text}, not measured`)
  if (fits.length === 0) {
    const available = gigabytes(budgetOf(config, backend, world.memory))
    return unmeasured(
      `needs ${gigabytes(least.peakBytes)} of memory and may take ${available} here, not measured`,
    )
  }
  onTesting?.(backend)
  try {
    const measured = await world.measure(backend, config, fits, signal, news)
    return { backend, ...measured, note: `on ${adapter.text}` }
  } catch (error) {
    signal?.throwIfAborted()
    return unmeasured(error instanceof Error ? error.message : String(error))
  }
}

const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`

function fastest(measurements: Measurement[]): BackendChoice {
  let best: (BackendSpeed & { backend: Backend }) | null = null
  for (const { backend, microBatch, peakBytes, tokensPerSecond } of measurements) {
    if (tokensPerSecond !== null && tokensPerSecond > (best?.tokensPerSecond ?? 0))
      best = { backend, microBatch, peakBytes, tokensPerSecond }
  }
  if (best) return { ...best, measurements }
  const notes = measurements.map(({ backend, note }) => `${backend}: ${note}`).join('; ')
  throw new EngineError('engine/backend-missing', `No way to train works in this browser. ${notes}.`)
}

function recall(storage: ChoiceWorld['storage'], key: string): BackendChoice | null {
  try {
    const text = storage?.getItem(key)
    if (!text) return null
    // Written by `remember` under a key that carries the format's version.
    const choice = JSON.parse(text) as BackendChoice
    return BACKENDS.includes(choice.backend) ? choice : null
  } catch {
    return null
  }
}

function remember(storage: ChoiceWorld['storage'], key: string, choice: BackendChoice): void {
  try {
    storage?.setItem(key, JSON.stringify(choice))
  } catch {
    // Full or forbidden storage costs a second measurement, no more.
  }
}

function browserWorld(): ChoiceWorld {
  const { userAgent, deviceMemory } = navigator as Navigator & { deviceMemory?: number } // Chromium's only
  return {
    findAdapters,
    measure: measureBackend,
    memory: { gib: deviceMemory },
    userAgent,
    storage: safeStorage(),
  }
}
