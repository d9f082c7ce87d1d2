/**
 * The page's end of the training Worker: the Engine interface with promises. When the Worker dies, for whatever
 * reason, every waiting call rejects at once with the reason, and so does every later one; nothing restarts by
 * itself. Which backend to start is chooseBackend.ts's question.
 */
import { proxy, type Remote, wrap } from 'comlink'
import type { CompileProgress } from '../../shared/engine/compiled/executor.ts'
import {
  type Backend,
  type Engine,
  EngineError,
  type Evaluation,
  type OptimiserState,
  type TrainListener,
} from '../../shared/engine/engine.ts'
import type { ContributionRequest as FromBase } from '../../shared/engine/exchange.ts'
import type { ModelConfig } from '../../shared/model/config.ts'
import type { ParameterRange } from '../../shared/model/layout.ts'
import type { EngineService, JobListener } from './engine.worker.ts'
import type { EngineNews } from './openEngine.ts'
import './engineErrors.ts'
import { keepTuning, recallTuning } from './tuning.ts'

const DEFAULT_SNAPSHOT_SECONDS = 10

export type Values = Float32Array<ArrayBuffer>
/** Its base is what was set last. */
export type ContributionRequest = Omit<FromBase, 'base'>

/** An Engine in a Worker. Arrays handed over are copied, arrays handed back are moved out of the Worker. */
export interface RemoteEngine extends Engine {
  /** A whole model is also the base. */
  setParameters(values: Values, fragment?: readonly ParameterRange[]): Promise<void>
  /** What the coming pseudo-gradient is taken against, when that is not the parameters last set whole. */
  setBase(values: Values): Promise<void>
  setOptimiserState(state: OptimiserState): Promise<void>
  pause(): Promise<void>
  resume(): Promise<void>
  stop(): Promise<void>
  setResidual(values: Values, fragment?: readonly ParameterRange[]): Promise<void>
  /** The fragment's encoded pseudo-gradient against the base. @throws EngineError `engine/not-finite` */
  contribution(request: ContributionRequest): Promise<Uint8Array<ArrayBuffer>>
  /**
   * Between two jobs: the fragment's new global weights, and on top of them what was trained since `mark`, the fragment's
   * parameters where the last contribution was made. They are its base from now on. Answers the fragment's parameters.
   */
  carryOver(values: Values, fragment: readonly ParameterRange[], mark: Values): Promise<Values>
  /** Between two jobs: the loss of another model of this shape. The replica is what it was afterwards. */
  evaluateAt(values: Values, sequences: Uint16Array): Promise<Evaluation>
  /** Ends the Worker at once; waiting calls reject. The same as `terminate`. */
  dispose(): void
  terminate(): void
}

/** A new Worker that runs engine.worker.ts; a test may have it run more, to force what only a driver does. */
export type MakeWorker = () => Worker

const makeEngineWorker: MakeWorker = () =>
  new Worker(new URL('./engine.worker.ts', import.meta.url), { type: 'module', name: 'engine' })

/**
 * Starts a Worker and an engine on `backend` in it; all parameters are zero. Aborting ends the Worker.
 * @throws EngineError `engine/backend-missing` when the backend does not work here; what `signal` carries when aborted.
 */
export async function startEngine(
  backend: Backend,
  config: ModelConfig,
  signal?: AbortSignal,
  makeWorker: MakeWorker = makeEngineWorker,
  news: EngineNews = {},
): Promise<RemoteEngine> {
  signal?.throwIfAborted()
  const worker = makeWorker()
  const life = watch(worker)
  const abort = () => life.end(new EngineError('engine/device-lost', 'The engine was told to end.'))
  signal?.addEventListener('abort', abort, { once: true })
  const service = wrap<EngineService>(worker)
  try {
    const compiling = (progress: CompileProgress) => news.compiling?.(progress)
    const heard = proxy({ compiling })
    const { tuned, refused } = await life.during(service.load(backend, config, recallTuning(), heard))
    if (tuned !== null) keepTuning(tuned)
    if (refused !== null) news.refused?.(refused)
  } catch (error) {
    abort()
    signal?.throwIfAborted()
    throw error
  }
  // Whatever ends the engine inside ends the Worker, whether or not anybody is waiting for it.
  void life.during(service.ended()).then(
    ({ code, message }) => life.end(new EngineError(code, message)),
    () => undefined, // it ended from this side
  )
  return remoteEngine(backend, config, service, life)
}

interface Life {
  /** Rejects with the reason when the Worker ends before `call` does. */
  during<T>(call: Promise<T>): Promise<T>
  end(reason: EngineError): void
  readonly ended: Promise<EngineError>
}

/** A Worker that has failed cannot be asked anything, so its death is what its events say. */
function watch(worker: Worker): Life {
  let tell = (_: EngineError) => {}
  const ended = new Promise<EngineError>((resolve) => {
    tell = resolve
  })
  const rejection = ended.then((reason) => Promise.reject(reason))
  rejection.catch(() => {}) // nobody may be waiting
  const end = (reason: EngineError) => {
    worker.terminate()
    tell(reason)
  }
  const fail = (what: string) =>
    end(new EngineError('engine/device-lost', `The training Worker failed: ${what}`))
  worker.addEventListener('error', (event) => fail(event.message || 'its script did not load'))
  worker.addEventListener('messageerror', () => fail('a message could not be read'))
  return {
    ended,
    end,
    async during(call) {
      try {
        return await Promise.race([rejection, call])
      } catch (error) {
        // A dead device cannot be revived within its Worker.
        if (error instanceof EngineError && error.code === 'engine/device-lost') end(error)
        throw error
      }
    },
  }
}

function remoteEngine(
  backend: Backend,
  config: ModelConfig,
  service: Remote<EngineService>,
  { during, end, ended }: Life,
): RemoteEngine {
  const terminate = () => end(new EngineError('engine/device-lost', 'The engine was told to end.'))
  return {
    backend,
    config,
    setParameters: (values, fragment) => during(service.setParameters(values, fragment)),
    getParameters: (fragment) => during(service.getParameters(fragment)),
    setOptimiserState: (state) => during(service.setOptimiserState(state)),
    getOptimiserState: () => during(service.getOptimiserState()),
    train: (job, listener = {}) =>
      during(service.train(job, proxy(heard(listener)), snapshotSeconds(listener))),
    setBase: (values) => during(service.setBase(values)),
    setResidual: (values, fragment) => during(service.setResidual(values, fragment)),
    getResidual: (fragment) => during(service.getResidual(fragment)),
    contribution: (request) => during(service.contribution(request)),
    carryOver: (values, fragment, mark) => during(service.carryOver(values, fragment, mark)),
    pause: () => during(service.pause()),
    resume: () => during(service.resume()),
    stop: () => during(service.stop()),
    tokenLosses: (sequences) => during(service.tokenLosses(sequences)),
    evaluate: (sequences) => during(service.evaluate(sequences)),
    evaluateAt: (values, sequences) => during(service.evaluateAt(values, sequences)),
    generate: (prompt, options) => during(service.generate(prompt, options)),
    dispose: terminate,
    terminate,
    ended,
  }
}

/** Functions cross only as a proxy, which the Worker releases after the job; every one is there to be called. */
const heard = (listener: TrainListener): JobListener => ({
  progress: (progress) => listener.progress?.(progress),
  snapshot: (snapshot) => listener.snapshot?.(snapshot),
})

/** 0 when nobody keeps them. */
const snapshotSeconds = (listener: TrainListener) =>
  listener.snapshot === undefined ? 0 : (listener.snapshotSeconds ?? DEFAULT_SNAPSHOT_SECONDS)
