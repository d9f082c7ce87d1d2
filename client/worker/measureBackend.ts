/**
 * Tokens per second of real inner steps of a run's model, in a Worker made for it and ended afterwards: with one
 * sequence at once, then with as many as fit, then with some between, as long as the time lasts. The measuring itself is
 * shared/engine/measure.ts, which the benchmark uses too.
 */
import { type Backend, EngineError } from '../../shared/engine/engine.ts'
import { type MeasureLimits, measureSteps, timedStep } from '../../shared/engine/measure.ts'
import type { ModelConfig } from '../../shared/model/config.ts'
import { parameterCount } from '../../shared/model/layout.ts'
import { type RemoteEngine, startEngine } from './engineClient.ts'
import type { Fit } from './fit.ts'
import type { EngineNews } from './openEngine.ts'

/** Of the first micro-batch. Browsers compile meanwhile: on two cores `nano` was three times faster ten steps later. */
const FIRST = { warmUps: 0, least: 4, most: 16, milliseconds: 1_000 }
/** Of every other. */
const NEXT = { warmUps: 0, least: 1, most: 8, milliseconds: 125 }
/** For all others together. */
const OTHERS_MS = 1_000
/** No more tokens at once than this are tried: beyond it no device of ours was faster. */
const MOST_TOKENS = 8_192
/** A candidate that has shown no speed by then is given up. */
const LIMIT_MS = 8_000
/** A larger micro-batch wins unless it is slower than this share of the fastest: fewer of them have less to add up. */
const NEARLY = 0.9

export interface BackendSpeed extends Fit {
  readonly tokensPerSecond: number
}

/**
 * The fastest of `fits`, which are not empty and smallest first.
 * @throws EngineError when the backend does not work here or shows no speed within eight seconds.
 */
export async function measureBackend(
  backend: Backend,
  config: ModelConfig,
  fits: readonly Fit[],
  signal?: AbortSignal,
  news?: EngineNews,
): Promise<BackendSpeed> {
  const limit = AbortSignal.timeout(LIMIT_MS)
  const either = signal ? AbortSignal.any([limit, signal]) : limit
  try {
    const engine = await startEngine(backend, config, either, undefined, news)
    try {
      await engine.setParameters(someParameters(config))
      return await fastestOf(engine, fits)
    } finally {
      engine.terminate()
    }
  } catch (error) {
    if (limit.aborted && !signal?.aborted) throw new Error(`no result within ${LIMIT_MS / 1_000} seconds`)
    throw error
  }
}

async function fastestOf(engine: RemoteEngine, fits: readonly Fit[]): Promise<BackendSpeed> {
  const { sequenceLength } = engine.config
  const [least, ...larger] = fits.filter(
    ({ microBatch }, i) => i === 0 || microBatch * sequenceLength <= MOST_TOKENS,
  )
  if (least === undefined) throw new EngineError('engine/backend-missing', 'not even one sequence fits')
  const first = await speedOf(engine, least, FIRST)
  const begin = performance.now()
  const measured = [first]
  // The largest first, the others while there is time.
  for (const fit of larger.reverse()) {
    const expected = (2e3 * fit.microBatch * sequenceLength) / first.tokensPerSecond
    if (performance.now() - begin + expected > OTHERS_MS) continue
    const next = await speedOf(engine, fit, NEXT).catch((error: unknown) => outOfMemory(error))
    if (next === null) break // the engine is gone, what was measured before holds
    measured.push(next)
  }
  return bestOf(measured, first)
}

/** Exported for its test. */
export function bestOf(measured: readonly BackendSpeed[], least: BackendSpeed): BackendSpeed {
  const fastest = Math.max(...measured.map(({ tokensPerSecond }) => tokensPerSecond))
  return measured
    .filter(({ tokensPerSecond }) => tokensPerSecond >= NEARLY * fastest)
    .reduce((a, b) => (b.microBatch > a.microBatch ? b : a), least)
}

/** A prediction can be wrong, and a GPU that has run out of memory is a lost one. */
function outOfMemory(error: unknown): null {
  if (error instanceof EngineError && error.code === 'engine/device-lost') return null
  throw error
}

/** By the fastest step: a device that does something else meanwhile must not pass for a slow one. */
async function speedOf(engine: RemoteEngine, fit: Fit, limits: MeasureLimits): Promise<BackendSpeed> {
  const { microBatch } = fit
  const job = { batchSize: microBatch, totalSteps: 1_000, peakLearningRate: 1e-4 }
  const sequences = someSequences(engine.config, microBatch)
  const { msOfFastest } = await measureSteps((index) => timedStep(engine, job, sequences, index), limits)
  return { ...fit, tokensPerSecond: (1_000 * microBatch * engine.config.sequenceLength) / msOfFastest }
}

/** Small, all different, and quick to make: only the time of the arithmetic matters. */
function someParameters(config: ModelConfig): Float32Array<ArrayBuffer> {
  return new Float32Array(parameterCount(config)).map((_, i) => ((i * 2_654_435_761) % 1_000) / 25_000 - 0.02)
}

function someSequences(config: ModelConfig, count: number): Uint16Array {
  return new Uint16Array(count * (config.sequenceLength + 1)).map((_, i) => (i * 7_919) % config.vocabSize)
}
