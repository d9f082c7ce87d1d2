/**
 * One lease from its first step to the bytes of its contribution. Of the round under way, it begins at the global
 * weights; with overlap it trains on from where the tab is and puts them in place when they have come. Knows nothing of
 * buttons or sockets; the caller watches progress and aborts.
 */
import type { TrainJob, TrainProgress, TrainResult } from '../../shared/engine/engine.ts'
import type { ModelConfig } from '../../shared/model/config.ts'
import { modelOf } from '../../shared/protocol/modelOf.ts'
import type { FragmentView, Lease, RunView } from '../../shared/protocol/run.ts'
import { merged, NOTHING_DONE, restOf } from '../worker/restOfJob.ts'
import type { CorpusCache } from './corpusCache.ts'
import type { LocalReplica, OnBytes } from './localReplica.ts'
import type { Utilisation } from './utilisation.ts'

export interface TurnParts {
  readonly lease: Lease
  readonly run: RunView
  readonly replica: LocalReplica
  readonly corpus: CorpusCache
  readonly utilisation: Utilisation
  /** Ends everything: stop, the end of the lease's round, a lost engine. */
  readonly signal: AbortSignal
  /** Resolves with the global weights of the lease's round once that is open and the contribution before is settled. */
  readonly opened: Promise<readonly FragmentView[]>
  /** Bytes that training waits for. */
  readonly onLoading: OnBytes
  readonly onTraining: (progress: TrainProgress) => void
  /** All steps are taken, and the round has not begun. */
  readonly onWaiting: () => void
  /** All steps are taken, and the contribution is being made. */
  readonly onTrained: () => void
}

export interface Turn {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly trained: TrainResult
}

export async function takeTurn(parts: TurnParts): Promise<Turn> {
  const { lease, run, replica, signal, onLoading } = parts
  const anew = !replica.goesOnWith(lease)
  const arrival = new Arriving(parts, anew)
  const sequences = await parts.corpus.sequences(lease, run, signal, onLoading)
  if (anew || !run.config.overlap) await arrival.wait()
  const { steps, batchSize, firstStep, totalSteps, peakLearningRate } = lease
  const job = { sequences, steps, batchSize, firstStep, totalSteps, peakLearningRate }
  const trained = await train(parts, job, arrival)
  parts.onTrained()
  return { bytes: await replica.contribution(lease), trained }
}

/** In as many jobs as it takes: the engine stops once, between two steps, to take the global weights over. */
async function train(parts: TurnParts, job: TrainJob, arrival: Arriving): Promise<TrainResult> {
  const { replica, signal, utilisation, onTraining, onWaiting } = parts
  const config = modelOf(parts.run.config)
  let done = NOTHING_DONE
  while (done.steps < job.steps || !arrival.inPlace) {
    signal.throwIfAborted()
    if (await arrival.putInPlace()) continue
    if (done.steps === job.steps) {
      onWaiting()
      await arrival.wait()
      continue
    }
    const before = done
    const progress = (p: TrainProgress) => onTraining(ofLease(before, p, job, config))
    utilisation.jobBegan()
    const training = arrival.during(replica.engine.train(restOf(job, done.steps, config), { progress }))
    const result = await training.catch((error: unknown) => {
      utilisation.jobEnded()
      throw error
    })
    utilisation.jobEnded(result.seconds)
    done = merged(before, result)
  }
  signal.throwIfAborted()
  return done
}

/** Steps and speed of the whole lease, of which this job is a part. */
function ofLease(
  before: TrainResult,
  { step, loss, tokensPerSecond }: TrainProgress,
  { steps, batchSize }: TrainJob,
  { sequenceLength }: ModelConfig,
): TrainProgress {
  const tokens = step * batchSize * sequenceLength
  const seconds = tokensPerSecond > 0 ? tokens / tokensPerSecond : 0
  const speed = (before.tokens + tokens) / (before.seconds + seconds)
  return { step: before.steps + step, steps, loss, tokensPerSecond: Number.isFinite(speed) ? speed : 0 }
}

/** The global weights on their way into the engine. */
class Arriving {
  readonly #replica: LocalReplica
  readonly #signal: AbortSignal
  readonly #ready: Promise<void>
  #put: (() => Promise<void>) | null = null
  #fault: { readonly error: unknown } | null = null
  #training = false
  inPlace = false

  constructor({ replica, signal, opened, onLoading }: TurnParts, anew: boolean) {
    this.#replica = replica
    this.#signal = signal
    const onBytes: OnBytes = (received, total) => {
      if (!this.#training) onLoading(received, total)
    }
    this.#ready = opened
      .then((weights) => replica.prepare(weights, { anew, signal, onBytes }))
      .then((put) => {
        this.#put = put
      })
      .catch((error: unknown) => {
        this.#fault = { error }
      })
      .finally(() => this.#interrupt())
    signal.addEventListener('abort', () => this.#interrupt(), { once: true })
  }

  /** Until they are here, and puts them in place. @throws why they will not come */
  async wait(): Promise<void> {
    await Promise.race([this.#ready, aborted(this.#signal)])
    this.#signal.throwIfAborted()
    await this.putInPlace()
  }

  /** True when they are here and were put in place just now. @throws why they will not come */
  async putInPlace(): Promise<boolean> {
    if (this.#fault !== null) throw this.#fault.error
    const put = this.#put
    if (put === null) return false
    this.#put = null
    await put()
    this.inPlace = true
    return true
  }

  /** Waits for a job, which ends early when the weights come. */
  async during<T>(job: Promise<T>): Promise<T> {
    this.#training = true
    try {
      return await job
    } finally {
      this.#training = false
    }
  }

  /** Harmless when nothing is under way. */
  #interrupt(): void {
    void this.#replica.engine.stop().catch(() => undefined) // a dead engine has stopped already
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
