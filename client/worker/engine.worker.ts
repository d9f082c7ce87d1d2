/**
 * The dedicated module Worker that trains: one engine, reached by Comlink. It knows no coordinator; the page's end
 * is engineClient.ts. Big arrays leave it by transfer, without a copy. A GPU that dies shows as `engine/device-lost`
 * from whatever call is waiting or comes next (the engine listens to the device).
 */
import { expose, type ProxyMarked, type Remote, releaseProxy, transfer } from 'comlink'
import { carriedOver } from '../../shared/diloco/overlap.ts'
import type { CompileProgress } from '../../shared/engine/compiled/executor.ts'
import type {
  Backend,
  Engine,
  GenerateOptions,
  OptimiserState,
  Snapshot,
  TrainJob,
  TrainProgress,
} from '../../shared/engine/engine.ts'
import type { ContributionRequest } from '../../shared/engine/exchange.ts'
import type { ModelConfig } from '../../shared/model/config.ts'
import { type ParameterRange, scatter } from '../../shared/model/layout.ts'
import './engineErrors.ts'
import { type EngineNews, openEngine } from './openEngine.ts'

let loaded: Engine | null = null
type Values = Float32Array<ArrayBuffer>
/** What the coming pseudo-gradient is taken against: the global weights. */
let base: Values = new Float32Array()

function engine(): Engine {
  if (loaded === null) throw new Error('internal: the Worker was used before load()')
  return loaded
}

const service = {
  /**
   * Once, before anything else. Takes what an earlier engine has measured, and answers a new measurement. `news` is told
   * of shaders for as long as the Worker lives.
   */
  async load(backend: Backend, config: ModelConfig, tuned: string | null, news: RemoteNews): Promise<Loaded> {
    const answer: Loaded = { tuned: null, refused: null }
    const onTuned = (text: string) => {
      answer.tuned = text
    }
    const refused = (why: string) => {
      answer.refused = why
    }
    const compiling = (progress: CompileProgress) => void news.compiling(progress)
    loaded = await openEngine(backend, config, { tuned, onTuned }, { refused, compiling })
    return answer
  },
  setParameters(values: Values, fragment?: readonly ParameterRange[]) {
    engine().setParameters(values, fragment)
    if (fragment === undefined) base = values
  },
  /** What the coming pseudo-gradient is taken against, when that is not the parameters last set whole. */
  setBase(values: Values) {
    base = values
  },
  setResidual: (values: Values, fragment?: readonly ParameterRange[]) =>
    engine().setResidual(values, fragment),
  async getResidual(fragment?: readonly ParameterRange[]) {
    const values = await engine().getResidual(fragment)
    return transfer(values, [values.buffer])
  },
  /** Encoded here so that the page stays smooth. */
  async contribution(request: Omit<ContributionRequest, 'base'>) {
    const bytes = await engine().contribution({ ...request, base })
    return transfer(bytes, [bytes.buffer])
  },
  async carryOver(values: Values, fragment: readonly ParameterRange[], mark: Values) {
    const local = await engine().getParameters(fragment)
    const moved = carriedOver(values, local, mark)
    engine().setParameters(moved, fragment)
    scatter(values, fragment, base)
    return transfer(moved, [moved.buffer])
  },
  async getParameters(fragment?: readonly ParameterRange[]) {
    const values = await engine().getParameters(fragment)
    return transfer(values, [values.buffer])
  },
  setOptimiserState: (state: OptimiserState) => engine().setOptimiserState(state),
  async getOptimiserState() {
    const state = await engine().getOptimiserState()
    return transfer(state, [state.firstMoment.buffer, state.secondMoment.buffer])
  },
  /**
   * `snapshotSeconds` is 0 when nobody keeps snapshots. What the page hears travels by a port of its own, so the job
   * ends only when the page has heard the last of it.
   */
  async train(job: TrainJob, listener: RemoteListener, snapshotSeconds: number) {
    let heard: Promise<void> = Promise.resolve()
    const progress = (p: TrainProgress) => {
      heard = listener.progress(p)
    }
    const snapshot = (s: Snapshot) => {
      const { firstMoment, secondMoment } = s.optimiser
      void listener.snapshot(transfer(s, [s.parameters.buffer, firstMoment.buffer, secondMoment.buffer]))
    }
    const kept = snapshotSeconds > 0 ? { snapshot, snapshotSeconds } : {}
    try {
      const result = await engine().train(job, { progress, ...kept })
      await heard
      return result
    } finally {
      listener[releaseProxy]()
    }
  },
  /** Resolves when the engine can do no more. */
  ended: async () => {
    const { code, message } = await engine().ended
    return { code, message }
  },
  pause: () => engine().pause(),
  resume: () => engine().resume(),
  stop: () => engine().stop(),
  async tokenLosses(sequences: Uint16Array) {
    const losses = await engine().tokenLosses(sequences)
    return transfer(losses, [losses.buffer])
  },
  evaluate: (sequences: Uint16Array) => engine().evaluate(sequences),
  async evaluateAt(values: Values, sequences: Uint16Array) {
    const own = await engine().getParameters()
    engine().setParameters(values)
    try {
      return await engine().evaluate(sequences)
    } finally {
      engine().setParameters(own)
    }
  },
  generate: (prompt: readonly number[], options: GenerateOptions) => engine().generate(prompt, options),
  dispose: () => engine().dispose(),
}

interface Loaded {
  /** A new measurement, to be kept. */
  tuned: string | null
  /** Why the compiled step is not used, though the backend is WebGPU. */
  refused: string | null
}

type RemoteNews = Remote<Required<Pick<EngineNews, 'compiling'>> & ProxyMarked>

/** What the page hears of a job. */
export interface JobListener {
  progress(progress: TrainProgress): void
  snapshot(snapshot: Snapshot): void
}

type RemoteListener = Remote<JobListener & ProxyMarked>

export type EngineService = typeof service

expose(service)
