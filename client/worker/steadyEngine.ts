/**
 * An engine that outlives its Worker. When the device is lost, a new Worker starts, gets back what is kept here on
 * the page, and goes on from the last snapshot of the job under way; after repeated loss on the next backend. What it
 * is not: it does not choose backends (chooseBackend.ts does), survives no other error than `engine/device-lost`, and
 * does not notice an engine that hangs in silence. One Worker's death is engineClient.ts's business; rules: RULES.md.
 */
import type { CompileProgress } from '../../shared/engine/compiled/executor.ts'
import {
  type Backend,
  EngineError,
  type GenerateOptions,
  type OptimiserState,
  type TrainJob,
  type TrainListener,
  type TrainResult,
} from '../../shared/engine/engine.ts'
import type { ModelConfig } from '../../shared/model/config.ts'
import type { ParameterRange } from '../../shared/model/layout.ts'
import { backoff, wait } from '../swarm/patience.ts'
import { type ContributionRequest, type RemoteEngine, startEngine, type Values } from './engineClient.ts'
import { Keepsake } from './keepsake.ts'
import { merged, NOTHING_DONE, restOf } from './restOfJob.ts'

/** A completed job sets the count back to none. */
export const LOSSES_BEFORE_NEXT = 2

/** What happened to the engine, for the page to say. */
export type SteadyEvent =
  /** `attempt` counts the losses on this backend since the last completed job; a start that failed is one too. */
  | { kind: 'lost'; backend: Backend; reason: string; attempt: number }
  /** `step`: inner steps of the job under way that need not be taken again; null when no job is under way. */
  | { kind: 'restarted'; backend: Backend; step: number | null }
  | { kind: 'fell-back'; from: Backend; to: Backend; reason: string }
  /** The compiled step is not used on WebGPU, TensorFlow.js is. */
  | { kind: 'refused'; reason: string }

/** A backend and how many sequences it computes at once, of jobs whose batch that divides. */
export interface Candidate {
  readonly backend: Backend
  readonly microBatch?: number
}

export interface SteadyOptions {
  /** Best first; at least one. */
  readonly candidates: readonly Candidate[]
  readonly config: ModelConfig
  readonly onEvent?: (event: SteadyEvent) => void
  /** Hears of shaders compiled, of those that the coming work needs. */
  readonly onCompiling?: (progress: CompileProgress) => void
  /** Ends the engine, as `terminate` does. */
  readonly signal?: AbortSignal
  /** Tests put their own in. */
  readonly start?: typeof startEngine
  readonly wait?: typeof wait
}

/**
 * Starts an engine on the first candidate that starts; all parameters are zero.
 * @throws the last candidate's reason when none starts; what `signal` carries when aborted.
 */
export async function startSteadyEngine(options: SteadyOptions): Promise<SteadyEngine> {
  options.signal?.throwIfAborted()
  const engine = new SteadyEngine(options)
  try {
    await engine.started()
  } catch (error) {
    options.signal?.throwIfAborted()
    throw error
  }
  return engine
}

interface JobUnderWay {
  /** What the last snapshot holds, from the job's beginning. */
  done: TrainResult
  stopped: boolean
}

/**
 * A RemoteEngine whose calls wait while a new Worker starts and are then asked again of that one. A fragment set
 * while a job is under way is not kept when the device is lost before the job's next snapshot.
 */
export class SteadyEngine implements RemoteEngine {
  readonly config: ModelConfig
  /** Resolves when no candidate is left, or after `terminate`. */
  readonly ended: Promise<EngineError>
  #tellEnded: (reason: EngineError) => void = () => undefined
  readonly #candidates: readonly Candidate[]
  readonly #onEvent: (event: SteadyEvent) => void
  readonly #onCompiling: (progress: CompileProgress) => void
  readonly #start: typeof startEngine
  readonly #wait: typeof wait
  readonly #life = new AbortController()
  readonly #kept: Keepsake
  /** The engine with everything kept in it; rejects when there will be none. */
  #ready: Promise<RemoteEngine>
  /** The engine that is alive, also while it is being given what was kept. */
  #current: RemoteEngine | null = null
  #candidate = 0
  /** Losses since the last completed job: on this backend, and on all. */
  #lossesHere = 0
  #losses = 0
  #paused = false
  #job: JobUnderWay | null = null

  constructor({ candidates, config, onEvent, onCompiling, signal, ...world }: SteadyOptions) {
    this.config = config
    this.#candidates = candidates
    this.#onEvent = onEvent ?? (() => undefined)
    this.#onCompiling = onCompiling ?? (() => undefined)
    this.#start = world.start ?? startEngine
    this.#wait = world.wait ?? wait
    this.#kept = new Keepsake(config)
    this.ended = new Promise((resolve) => {
      this.#tellEnded = resolve
    })
    signal?.addEventListener('abort', () => this.terminate(), { once: true, signal: this.#life.signal })
    this.#ready = this.#begin(null)
  }

  /** The one in use now, or being started. */
  get backend(): Backend {
    return this.#using.backend
  }

  get #using(): Candidate {
    return this.#candidates[this.#candidate] as Candidate // there is at least one, and the index stays among them
  }

  async started(): Promise<void> {
    await this.#ready
  }

  // The Engine. What is set is kept once the engine has taken it, so that nothing it refuses is ever kept.

  async setParameters(values: Values, fragment?: readonly ParameterRange[]): Promise<void> {
    const copy = values.slice()
    await this.#on((engine) => engine.setParameters(copy, fragment))
    this.#kept.setParameters(copy, fragment)
  }

  async setBase(values: Values): Promise<void> {
    const copy = values.slice()
    await this.#on((engine) => engine.setBase(copy))
    this.#kept.setBase(copy)
  }

  async setResidual(values: Values, fragment?: readonly ParameterRange[]): Promise<void> {
    const copy = values.slice()
    await this.#on((engine) => engine.setResidual(copy, fragment))
    this.#kept.setResidual(copy, fragment)
  }

  /** What is read is kept: until then a lost engine's residual is made again from what its contribution was made from. */
  async getResidual(fragment?: readonly ParameterRange[]): Promise<Values> {
    const values = await this.#on((engine) => engine.getResidual(fragment))
    this.#kept.setResidual(values.slice(), fragment)
    return values
  }

  async setOptimiserState({ firstMoment, secondMoment, updates }: OptimiserState): Promise<void> {
    const copy = { firstMoment: firstMoment.slice(), secondMoment: secondMoment.slice(), updates }
    await this.#on((engine) => engine.setOptimiserState(copy))
    this.#kept.setOptimiserState(copy)
  }

  getParameters(fragment?: readonly ParameterRange[]): Promise<Float32Array<ArrayBuffer>> {
    return this.#on((engine) => engine.getParameters(fragment))
  }

  getOptimiserState(): Promise<OptimiserState> {
    return this.#on((engine) => engine.getOptimiserState())
  }

  /** Progress counts from the job's beginning; its speed is that since the last restart, which is the present one. */
  async train(job: TrainJob, listener: TrainListener = {}): Promise<TrainResult> {
    if (this.#job !== null)
      throw new EngineError('engine/bad-job', 'A job is under way already; wait for it or stop it.')
    const doing: JobUnderWay = { done: NOTHING_DONE, stopped: false }
    this.#job = doing
    try {
      const result = await this.#on((engine) => this.#trainOn(engine, job, doing, listener))
      if (result.steps === job.steps) {
        this.#losses = 0
        this.#lossesHere = 0
      }
      return result
    } finally {
      this.#job = null
    }
  }

  tokenLosses(sequences: Uint16Array) {
    return this.#on((engine) => engine.tokenLosses(sequences))
  }

  evaluate(sequences: Uint16Array) {
    return this.#on((engine) => engine.evaluate(sequences))
  }

  evaluateAt(values: Values, sequences: Uint16Array) {
    return this.#on((engine) => engine.evaluateAt(values, sequences))
  }

  generate(prompt: readonly number[], options: GenerateOptions): Promise<number[]> {
    return this.#on((engine) => engine.generate(prompt, options))
  }

  /** The parameters are the mark from now on. */
  async contribution(request: ContributionRequest): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = await this.#on((engine) => engine.contribution(request))
    this.#kept.contributed(request, bytes)
    return bytes
  }

  /** Between two jobs only. `mark`: default where the last contribution was made, or the parameters set whole since. */
  async carryOver(
    values: Values,
    fragment: readonly ParameterRange[],
    mark: Values = this.#kept.markOf(fragment),
  ): Promise<Values> {
    const moved = await this.#on((engine) => engine.carryOver(values, fragment, mark))
    this.#kept.carryOver(values, moved, fragment)
    return moved
  }

  /** The moments as they were after the last job, or set since; null in a fresh engine. Not to be changed. */
  get keptOptimiserState(): OptimiserState | null {
    return this.#kept.optimiser
  }

  pause(): Promise<void> {
    this.#paused = true
    return this.#tell('pause')
  }

  resume(): Promise<void> {
    this.#paused = false
    return this.#tell('resume')
  }

  stop(): Promise<void> {
    if (this.#job !== null) this.#job.stopped = true
    return this.#tell('stop')
  }

  dispose(): void {
    this.terminate()
  }

  terminate(): void {
    this.#end(new EngineError('engine/device-lost', 'The engine was told to end.'))
  }

  // One engine after another.

  /** Asks the engine, and the next one if this one dies before it has answered. */
  async #on<T>(call: (engine: RemoteEngine) => Promise<T>): Promise<T> {
    for (;;) {
      const engine = await this.#ready
      try {
        return await call(engine)
      } catch (error) {
        if (!isLoss(error) || this.#life.signal.aborted) throw error
        this.#lost(engine, error)
      }
    }
  }

  /** What pause, resume and stop say holds for the next engine too, so a dying one need not have heard it. */
  async #tell(word: 'pause' | 'resume' | 'stop'): Promise<void> {
    try {
      await this.#current?.[word]()
    } catch (error) {
      if (!isLoss(error)) throw error
    }
  }

  /** Takes what is left of the job, with a keepsake of its end, so that no later loss can undo it. */
  async #trainOn(
    engine: RemoteEngine,
    job: TrainJob,
    doing: JobUnderWay,
    listener: TrainListener,
  ): Promise<TrainResult> {
    const before = doing.done
    if (doing.stopped) return before
    const { microBatch = job.batchSize } = this.#using
    const divides = job.batchSize % microBatch === 0
    const fitting = divides && job.microBatch === undefined ? { ...job, microBatch } : job
    const result = await engine.train(restOf(fitting, before.steps, this.config), {
      progress: (progress) =>
        listener.progress?.({ ...progress, step: before.steps + progress.step, steps: job.steps }),
      snapshot: (snapshot) => {
        if (engine !== this.#current) return
        this.#kept.setReplica(snapshot.parameters, snapshot.optimiser)
        doing.done = merged(before, snapshot.soFar)
        listener.snapshot?.({ ...snapshot, soFar: doing.done })
      },
      ...(listener.snapshotSeconds !== undefined && { snapshotSeconds: listener.snapshotSeconds }),
    })
    const [parameters, state] = await Promise.all([engine.getParameters(), engine.getOptimiserState()])
    this.#kept.setReplica(parameters, state)
    return merged(before, result)
  }

  /** Once for each engine, whoever notices first. */
  #lost(engine: RemoteEngine, reason: EngineError): void {
    if (engine !== this.#current) return
    this.#current = null
    this.#ready = this.#begin(reason)
  }

  #begin(reason: EngineError | null): Promise<RemoteEngine> {
    const ready = this.#startUntilOneHolds(reason)
    ready.catch((error: unknown) => this.#end(asEngineError(error)))
    return ready
  }

  /** @throws the last reason when no candidate is left, and when told to end. */
  async #startUntilOneHolds(lost: EngineError | null): Promise<RemoteEngine> {
    for (let reason: unknown = lost; ; ) {
      if (reason !== null) {
        this.#countLoss(reason)
        await this.#wait(backoff(this.#losses - 1), this.#life.signal)
      }
      try {
        const engine = await this.#open()
        if (reason !== null)
          this.#onEvent({ kind: 'restarted', backend: this.backend, step: this.#job?.done.steps ?? null })
        return engine
      } catch (error) {
        this.#life.signal.throwIfAborted()
        reason = error
      }
    }
  }

  /** @throws `error` when it was the last candidate's last. */
  #countLoss(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error)
    this.#losses += 1
    this.#lossesHere += 1
    const from = this.backend
    this.#onEvent({ kind: 'lost', backend: from, reason, attempt: this.#lossesHere })
    if (this.#lossesHere < LOSSES_BEFORE_NEXT) return
    if (this.#candidate + 1 === this.#candidates.length) throw error
    this.#candidate += 1
    this.#lossesHere = 0
    this.#onEvent({ kind: 'fell-back', from, to: this.backend, reason })
  }

  /** A new engine that holds what is kept here. */
  async #open(): Promise<RemoteEngine> {
    const engine = await this.#start(this.backend, this.config, this.#life.signal, undefined, {
      compiling: this.#onCompiling,
      refused: (reason) => this.#onEvent({ kind: 'refused', reason }),
    })
    this.#current = engine
    try {
      await this.#kept.restore(engine)
      if (this.#paused) await engine.pause()
    } catch (error) {
      this.#current = null
      engine.terminate()
      throw error
    }
    void engine.ended.then((reason) => this.#lost(engine, reason))
    return engine
  }

  #end(reason: EngineError): void {
    if (this.#life.signal.aborted) return
    this.#life.abort(reason)
    const last = this.#current
    this.#current = null
    last?.terminate()
    // Whoever comes later hears the reason too.
    this.#ready = Promise.reject(reason)
    this.#ready.catch(() => undefined)
    this.#tellEnded(reason)
  }
}

const isLoss = (error: unknown): error is EngineError =>
  error instanceof EngineError && error.code === 'engine/device-lost'

const asEngineError = (error: unknown): EngineError =>
  error instanceof EngineError
    ? error
    : new EngineError('engine/device-lost', error instanceof Error ? error.message : String(error))
