/** Tokens per second of real inner steps of a run's model, in a Worker made for it and ended afterwards. */
import type { Backend, TrainJob } from '../../shared/engine/engine.ts'
import type { ModelConfig } from '../../shared/model/config.ts'
import { parameterCount } from '../../shared/model/layout.ts'
import { type RemoteEngine, startEngine } from './engineClient.ts'

/** Tokens in one measured step, at least one sequence: enough to show a GPU's speed, soon done on a CPU. */
const STEP_TOKENS = 1_024
/** Steps are taken for about this long, after one that is not counted. */
const MEASURE_MS = 1_000
const MOST_STEPS = 100
/** A candidate that has shown no speed by then is given up. */
const LIMIT_MS = 8_000

/** @throws EngineError when the backend does not work here or shows no speed within eight seconds. */
export async function measureBackend(
  backend: Backend,
  config: ModelConfig,
  batchSize: number,
  signal?: AbortSignal,
): Promise<number> {
  const limit = AbortSignal.timeout(LIMIT_MS)
  const either = signal ? AbortSignal.any([limit, signal]) : limit
  try {
    const engine = await startEngine(backend, config, either)
    return await measure(
      engine,
      Math.min(batchSize, Math.max(1, Math.floor(STEP_TOKENS / config.sequenceLength))),
    )
  } catch (error) {
    if (limit.aborted && !signal?.aborted) throw new Error(`no result within ${LIMIT_MS / 1_000} seconds`)
    throw error
  }
}

async function measure(engine: RemoteEngine, batchSize: number): Promise<number> {
  try {
    await engine.setParameters(someParameters(engine.config))
    await engine.train(someJob(engine.config, 1, batchSize))
    const timer = setTimeout(() => void engine.stop().catch(() => {}), MEASURE_MS)
    const { tokens, seconds } = await engine.train(someJob(engine.config, MOST_STEPS, batchSize))
    clearTimeout(timer)
    return tokens / seconds
  } finally {
    engine.terminate()
  }
}

/** Small, all different, and quick to make: only the time of the arithmetic matters. */
function someParameters(config: ModelConfig): Float32Array {
  return new Float32Array(parameterCount(config)).map((_, i) => ((i * 2_654_435_761) % 1_000) / 25_000 - 0.02)
}

function someJob(config: ModelConfig, steps: number, batchSize: number): TrainJob {
  const length = steps * batchSize * (config.sequenceLength + 1)
  const sequences = new Uint16Array(length).map((_, i) => (i * 7_919) % config.vocabSize)
  return { sequences, steps, batchSize, firstStep: 0, totalSteps: 1_000, peakLearningRate: 1e-4 }
}
