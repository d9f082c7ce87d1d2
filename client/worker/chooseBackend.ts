/**
 * Which backend trains this run fastest on this device: a short real measurement of those worth measuring,
 * remembered for the next visit. A GPU API that runs on the CPU is not measured, because wasm is faster there
 * (SwiftShader 173 against 8,600 tokens/s at d=64). What the browser has is asked in adapters.ts.
 */
import { BACKENDS, type Backend, EngineError } from '../../shared/engine/engine.ts'
import type { ModelConfig } from '../../shared/model/config.ts'
import type { BackendChoice } from '../swarm/view.ts'
import { type Adapters, findAdapters } from './adapters.ts'
import { measureBackend } from './measureBackend.ts'

export interface ChooseOptions {
  /** Sequences in one inner step of the run. */
  readonly batchSize: number
  /** Told before each measurement. */
  readonly onTesting?: (backend: Backend) => void
  readonly signal?: AbortSignal
}

/** What the choice needs of the browser; tests put their own in. */
export interface ChoiceWorld {
  findAdapters(): Promise<Adapters>
  /** Tokens per second; rejects when the backend does not work or is too slow to tell. */
  measure(backend: Backend, config: ModelConfig, batchSize: number, signal?: AbortSignal): Promise<number>
  readonly userAgent: string
  /** null where the browser refuses storage. */
  readonly storage: Pick<Storage, 'getItem' | 'setItem'> | null
}

const STORAGE_PREFIX = 'potluck/backend/1/'

/** @throws EngineError `engine/backend-missing` when none works; what `signal` carries when aborted. */
export async function chooseBackend(
  config: ModelConfig,
  options: ChooseOptions,
  world: ChoiceWorld = browserWorld(),
): Promise<BackendChoice> {
  const adapters = await world.findAdapters()
  const key = STORAGE_PREFIX + JSON.stringify([config, options.batchSize, world.userAgent, adapters])
  const remembered = recall(world.storage, key)
  if (remembered) return remembered
  const measurements: Measurement[] = []
  for (const backend of BACKENDS) measurements.push(await consider(backend, adapters, config, options, world))
  const choice = fastest(measurements)
  remember(world.storage, key, choice)
  return choice
}

type Measurement = BackendChoice['measurements'][number]

async function consider(
  backend: Backend,
  adapters: Adapters,
  config: ModelConfig,
  { batchSize, onTesting, signal }: ChooseOptions,
  world: ChoiceWorld,
): Promise<Measurement> {
  const adapter = adapters[backend]
  if (!adapter.usable)
    return { backend, tokensPerSecond: null, note: `${backend}: ${adapter.text}, not measured` }
  onTesting?.(backend)
  try {
    const tokensPerSecond = await world.measure(backend, config, batchSize, signal)
    const speed = Math.round(tokensPerSecond).toLocaleString('en')
    return { backend, tokensPerSecond, note: `${backend}: ${speed} tokens per second on ${adapter.text}` }
  } catch (error) {
    signal?.throwIfAborted()
    const why = error instanceof Error ? error.message : String(error)
    return { backend, tokensPerSecond: null, note: `${backend}: ${why}` }
  }
}

function fastest(measurements: Measurement[]): BackendChoice {
  let best: { backend: Backend; tokensPerSecond: number } | null = null
  for (const { backend, tokensPerSecond } of measurements) {
    if (tokensPerSecond !== null && tokensPerSecond > (best?.tokensPerSecond ?? 0))
      best = { backend, tokensPerSecond }
  }
  if (best) return { ...best, measurements }
  const notes = measurements.map(({ note }) => note).join('; ')
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
  return { findAdapters, measure: measureBackend, userAgent: navigator.userAgent, storage: safeStorage() }
}

/** Reading the property throws where cookies are blocked. */
function safeStorage(): Storage | null {
  try {
    return localStorage
  } catch {
    return null
  }
}
