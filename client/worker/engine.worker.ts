/**
 * The dedicated module Worker that trains: one engine, reached by Comlink. It knows no coordinator; the page's end
 * is engineClient.ts. Big arrays leave it by transfer, without a copy. A GPU that dies shows as `engine/device-lost`
 * from whatever call is waiting or comes next (the engine listens to the device).
 */
import { expose, type ProxyMarked, type Remote, releaseProxy, transfer } from 'comlink'
import { CODECS, type CodecName } from '../../shared/codec/codec.ts'
import { CodecError } from '../../shared/codec/errors.ts'
import { encodeWithFeedback } from '../../shared/codec/feedback.ts'
import { pseudoGradient } from '../../shared/diloco/outer.ts'
import { carriedOver } from '../../shared/diloco/overlap.ts'
import {
  type Backend,
  type Engine,
  EngineError,
  type GenerateOptions,
  type OptimiserState,
  type Snapshot,
  type TrainJob,
  type TrainProgress,
} from '../../shared/engine/engine.ts'
import type { ModelConfig } from '../../shared/model/config.ts'
import { gathered, type ParameterRange, scatter } from '../../shared/model/layout.ts'
import './engineErrors.ts'
import { openEngine } from './openEngine.ts'

let loaded: Engine | null = null
type Values = Float32Array<ArrayBuffer>
/** What the coming pseudo-gradient is taken against: the global weights. */
let base: Values = new Float32Array()
/** The parameters at which the last contribution was made. */
let mark: Values = new Float32Array()

function engine(): Engine {
  if (loaded === null) throw new Error('internal: the Worker was used before load()')
  return loaded
}

const service = {
  /** Once, before anything else. */
  async load(backend: Backend, config: ModelConfig): Promise<void> {
    loaded = await openEngine(backend, config)
  },
  setParameters(values: Values, fragment?: readonly ParameterRange[]) {
    engine().setParameters(values, fragment)
    if (fragment === undefined) base = mark = values
  },
  /** What the coming pseudo-gradient is taken against, when that is not the parameters last set whole. */
  setBase(values: Values) {
    base = values
  },
  setMark(values: Values) {
    mark = values
  },
  /** Encoded here so that the page stays smooth. */
  async contribution({ codec, fragment, residual, decay }: ContributionRequest): Promise<Contribution> {
    const local = await engine().getParameters()
    const delta = pseudoGradient(gathered(base, fragment), gathered(local, fragment))
    const bytes = finite(() => encodeWithFeedback(CODECS[codec], delta, residual, decay))
    mark = local
    return transfer({ bytes, residual }, [bytes.buffer, residual.buffer])
  },
  async carryOver(values: Values, fragment: readonly ParameterRange[]) {
    const local = await engine().getParameters(fragment)
    const moved = carriedOver(values, local, gathered(mark, fragment))
    engine().setParameters(moved, fragment)
    base = base.slice() // it may be the mark
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

/** What a contribution is made from. */
export interface ContributionRequest {
  readonly codec: CodecName
  readonly fragment: readonly ParameterRange[]
  /** Of the fragment, as in shared/codec/feedback.ts. */
  readonly residual: Values
  readonly decay: number
}

export interface Contribution {
  readonly bytes: Uint8Array<ArrayBuffer>
  /** What the bytes do not carry. */
  readonly residual: Values
}

function finite<T>(encode: () => T): T {
  try {
    return encode()
  } catch (error) {
    if (!(error instanceof CodecError)) throw error
    throw new EngineError('engine/not-finite', `The pseudo-gradient cannot be sent: ${error.message}`)
  }
}

/** What the page hears of a job. */
export interface JobListener {
  progress(progress: TrainProgress): void
  snapshot(snapshot: Snapshot): void
}

type RemoteListener = Remote<JobListener & ProxyMarked>

export type EngineService = typeof service

expose(service)
