/**
 * The dedicated module Worker that trains: one engine, reached by Comlink. It knows no coordinator; the page's end
 * is engineClient.ts. Big arrays leave it by transfer, without a copy. A GPU that dies shows as `engine/device-lost`
 * from whatever call is waiting or comes next (shared/engine/tfjs/backend.ts listens to the device).
 */
import { expose, type ProxyMarked, type Remote, releaseProxy, transfer } from 'comlink'
import { CODECS, type CodecName } from '../../shared/codec/codec.ts'
import { pseudoGradient } from '../../shared/diloco/outer.ts'
import type {
  Backend,
  Engine,
  GenerateOptions,
  OptimiserState,
  TrainJob,
  TrainProgress,
} from '../../shared/engine/engine.ts'
import { browserWasmPaths } from '../../shared/engine/tfjs/browserWasmPaths.ts'
import { createTfjsEngine } from '../../shared/engine/tfjs/createTfjsEngine.ts'
import type { ModelConfig } from '../../shared/model/config.ts'
import './engineErrors.ts'

let loaded: Engine | null = null
/** What the coming pseudo-gradient is taken against. */
let base: Float32Array = new Float32Array()

function engine(): Engine {
  if (loaded === null) throw new Error('internal: the Worker was used before load()')
  return loaded
}

const service = {
  /** Once, before anything else. */
  async load(backend: Backend, config: ModelConfig): Promise<void> {
    loaded = await createTfjsEngine({ backend, config, wasmPaths: browserWasmPaths })
  },
  setParameters(values: Float32Array) {
    base = values
    engine().setParameters(values)
  },
  /** The pseudo-gradient against the parameters last set, encoded here so that the page stays smooth. */
  async contribution(codec: CodecName) {
    const delta = pseudoGradient(base, await engine().getParameters())
    const bytes = CODECS[codec].encode(delta)
    return transfer(bytes, [bytes.buffer])
  },
  async getParameters() {
    const values = await engine().getParameters()
    return transfer(values, [values.buffer])
  },
  setOptimiserState: (state: OptimiserState) => engine().setOptimiserState(state),
  async getOptimiserState() {
    const state = await engine().getOptimiserState()
    return transfer(state, [state.firstMoment.buffer, state.secondMoment.buffer])
  },
  async train(job: TrainJob, onProgress: ProgressListener | null) {
    try {
      return await engine().train(job, (progress) => void onProgress?.(progress))
    } finally {
      onProgress?.[releaseProxy]()
    }
  },
  pause: () => engine().pause(),
  resume: () => engine().resume(),
  stop: () => engine().stop(),
  evaluate: (sequences: Uint16Array) => engine().evaluate(sequences),
  generate: (prompt: readonly number[], options: GenerateOptions) => engine().generate(prompt, options),
  dispose: () => engine().dispose(),
}

type ProgressListener = Remote<((progress: TrainProgress) => void) & ProxyMarked>

export type EngineService = typeof service

expose(service)
