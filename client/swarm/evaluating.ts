/**
 * A tab's part in evaluations: it asks for a slice of the held-out set, measures it on the weights that it has, and
 * answers. Nothing of it may hold up training for long: when it does so is spareTime.ts's and the caller's business.
 */
import { decodeShard } from '../../shared/corpus/shard.ts'
import type { ModelConfig } from '../../shared/model/config.ts'
import { fragments, type ParameterRange, scatter } from '../../shared/model/layout.ts'
import type { OpenEvaluation, Slice } from '../../shared/protocol/evaluation.ts'
import { LIMITS } from '../../shared/protocol/limits.ts'
import type { RunView } from '../../shared/protocol/run.ts'
import { type FetchOptions, fetchBlob } from '../storage/blobs.ts'
import { floatsOf } from '../storage/floatBytes.ts'
import type { GlobalWeights } from '../storage/weights.ts'
import type { SteadyEngine } from '../worker/steadyEngine.ts'
import type { Connection } from './connection.ts'
import { SpareTime } from './spareTime.ts'

type Values = Float32Array<ArrayBuffer>

export interface Circumstances {
  readonly run: RunView
  readonly model: ModelConfig
  readonly engine: Pick<SteadyEngine, 'evaluateAt'>
  readonly connection: Pick<Connection, 'slice' | 'measured'>
  /** Nothing else is to be done: the newest weights may be fetched, which the next lease needs anyway. */
  readonly waiting: boolean
  /** Seconds in inner steps so far. */
  readonly trained: number
  /** Seconds since the last one. */
  readonly idle: number
  /** In inner steps; 0 when unknown. */
  readonly tokensPerSecond: number
  readonly signal: AbortSignal
}

/** After "there is nothing for you". */
const ASK_AGAIN_MS = 5_000
/** A forward pass is about a third of a step. */
const FASTER = 3

export class Evaluating {
  readonly #weights: GlobalWeights
  readonly #options: FetchOptions
  readonly #now: () => number
  readonly #spare = new SpareTime()
  /** Of the evaluation looked at last. */
  #current = ''
  #notBefore = 0
  #set: { readonly hash: string; readonly tokens: Uint16Array } | null = null
  /** Weights that were fetched for the evaluation alone, by hash; kept for its other slices. */
  #older = new Map<string, Values>()

  /** `now` in milliseconds. */
  constructor(
    weights: GlobalWeights,
    options: FetchOptions = {},
    now: () => number = () => performance.now(),
  ) {
    this.#weights = weights
    this.#options = options
    this.#now = now
  }

  /** The blobs in use: for BlobStore.prune. */
  get hashes(): string[] {
    return this.#set === null ? [] : [this.#set.hash]
  }

  /** Keeps the weights of the open evaluation on this device while newer ones come. */
  async follow({ evaluation }: Pick<RunView, 'evaluation'>): Promise<void> {
    const key = JSON.stringify(evaluation && [evaluation.round, evaluation.weights])
    if (key === this.#current) return
    this.#current = key
    this.#notBefore = 0
    this.#older.clear()
    await this.#weights.pin(evaluation?.weights ?? [])
  }

  /**
   * Measures one slice if there is one for this tab now: true when it did.
   * @throws what the engine and the connection throw
   */
  async measureOne(here: Circumstances): Promise<boolean> {
    const { run, engine, connection, waiting, signal } = here
    const { evaluation } = run
    if (evaluation === null || this.#now() < this.#notBefore || !this.#maySpare(here)) return false
    await this.follow(run)
    const values = await this.#valuesOf(evaluation, here)
    if (values === null) return false
    this.#notBefore = this.#now() + ASK_AGAIN_MS // unless it goes well
    const grant = await connection.slice({ run: run.id, round: evaluation.round })
    signal.throwIfAborted()
    if ('none' in grant) return false
    const sequences = await this.#sequencesOf(grant.slice, here)
    const begun = this.#now()
    const { nats, tokens } = await engine.evaluateAt(values, sequences)
    if (!waiting) this.#spare.took((this.#now() - begun) / 1_000)
    await connection.measured({ slice: grant.slice.id, weights: evaluation.weights, nats, tokens })
    this.#notBefore = 0
    return true
  }

  #maySpare({ waiting, trained, idle, tokensPerSecond, model }: Circumstances): boolean {
    const tokens = Math.max(LIMITS.evaluation.sliceTokens, model.sequenceLength)
    const seconds = tokens / (FASTER * tokensPerSecond)
    return waiting ? this.#spare.allowsIdle(trained, seconds, idle) : this.#spare.allows(trained, seconds)
  }

  /** The whole model, or null when it is not here and not to be fetched. */
  async #valuesOf(
    { weights }: OpenEvaluation,
    { run, model, waiting, signal }: Circumstances,
  ): Promise<Values | null> {
    const parts: Values[] = []
    const ranges = fragments(model, weights.length)
    for (const [index, hash] of weights.entries()) {
      const parameters = (ranges[index] ?? []).reduce((sum, { size }) => sum + size, 0)
      const newest = run.weights?.[index]
      const part =
        waiting && newest?.hash === hash
          ? await this.#weights.fragment(index, newest, parameters, signal)
          : ((await this.#weights.here(index, hash, parameters)) ??
            (await this.#olderOf(hash, { run, waiting, signal })))
      if (part?.length !== parameters) return null
      parts.push(part)
    }
    return whole(parts, ranges)
  }

  /** Null when they are not to be fetched for this alone. */
  async #olderOf(hash: string, { run, waiting, signal }: Pick<Circumstances, 'run' | 'waiting' | 'signal'>) {
    const kept = this.#older.get(hash)
    if (kept) return kept
    if (!waiting || 4 * run.parameters > LIMITS.evaluation.olderWeightsBytes) return null
    const values = floatsOf(await fetchBlob(hash, signal, undefined, this.#options))
    this.#older.set(hash, values)
    return values
  }

  async #sequencesOf({ set, first, count }: Slice, { model, signal }: Circumstances): Promise<Uint16Array> {
    if (this.#set?.hash !== set) {
      this.#set = {
        hash: set,
        tokens: decodeShard(await fetchBlob(set, signal, undefined, this.#options), model),
      }
    }
    const stride = model.sequenceLength + 1
    return this.#set.tokens.slice(first * stride, (first + count) * stride)
  }
}

/** The parts in layout order; itself when there is one. */
function whole(parts: readonly Values[], ranges: readonly (readonly ParameterRange[])[]): Values {
  const [only] = parts
  if (only && parts.length === 1) return only
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0))
  for (const [index, part] of parts.entries()) scatter(part, ranges[index] ?? [], all)
  return all
}
