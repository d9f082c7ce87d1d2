/**
 * The coordinator's own evaluator: jobs for the evaluation process, one at a time, in the order of their urgency. A
 * process that dies is replaced and its job begun again, a few times. It never holds up who asks: closing ends it at
 * once. Rules: RULES.md.
 */
import { totalmem } from 'node:os'
import { PotluckError } from '../../shared/protocol/errors.ts'
import { LIMITS } from '../../shared/protocol/limits.ts'
import { HELD_OUT_TOKENS, type HeldOutSet } from './heldOut.ts'
import { EvaluationProcess, ProcessDied } from './process.ts'
import type { TaskJob, TaskPiece } from './taskWork.ts'
import type { Kind, Loss, LossJob, Work } from './work.ts'

export interface Evaluator {
  /** The held-out set of the corpus of this manifest, as a blob. */
  heldOut(manifest: string): Promise<HeldOutSet>
  /** Null when it was given up before it began: newer ones took all places, or it is `wanted` no more. */
  loss(job: LossJob, wanted?: () => boolean): Promise<Loss | null>
  /** A part of a zero-shot task; null when it is `wanted` no more. */
  taskPiece(job: TaskJob, wanted?: () => boolean): Promise<TaskPiece | null>
  /** What the process may hold. */
  readonly memoryBytes: number
  /** About so many are measured of a corpus. */
  readonly heldOutTokens: number
  /** Processes that died or hung so far. */
  readonly deaths: number
  /** Of the process; null when there is none. */
  readonly pid: number | null
  /** Ends the process; who waits is refused. */
  close(): void
}

export interface EvaluatorOptions {
  /** Folder of the public blobs. */
  readonly blobs: string
  /** 25,600 when left out. */
  readonly heldOutTokens?: number
  readonly memoryBytes?: number
}

const GIB = 2 ** 30
/** Half of what there is, and no more than wasm can address. */
const memoryAllowed = (): number =>
  Math.min(4 * GIB, totalmem() / 2, (process.constrainedMemory() || Number.POSITIVE_INFINITY) / 2)
/** Between two signs of life: a sequence of the largest model that is measured here takes a tenth of it. */
export const SILENCE_MS = 180_000
/** A process with nothing to do ends after so long. */
const IDLE_MS = 10 * 60_000
/** Processes that one job may cost. */
const ATTEMPTS = 3

/** Smaller comes first; of equals the newest. */
const URGENCY: Record<Kind, number> = { 'held-out': 0, loss: 1, tasks: 2 }

interface Waiting {
  readonly kind: Kind
  readonly wanted: () => boolean
  readonly begin: () => Promise<void>
  readonly refuse: (reason: unknown) => void
  readonly giveUp: () => void
}

export function startEvaluator(options: EvaluatorOptions): Evaluator {
  return new ChildEvaluator(options)
}

class ChildEvaluator implements Evaluator {
  readonly memoryBytes: number
  readonly heldOutTokens: number
  readonly #process: EvaluationProcess
  #waiting: Waiting[] = []
  #working = false
  #closed = false
  #deaths = 0
  #idle: NodeJS.Timeout | undefined

  constructor({ blobs, heldOutTokens = HELD_OUT_TOKENS, memoryBytes = memoryAllowed() }: EvaluatorOptions) {
    this.memoryBytes = memoryBytes
    this.heldOutTokens = heldOutTokens
    this.#process = new EvaluationProcess({ blobs, memoryBytes, silenceMs: SILENCE_MS })
  }

  get deaths(): number {
    return this.#deaths
  }

  get pid(): number | null {
    return this.#process.pid
  }

  async heldOut(manifest: string): Promise<HeldOutSet> {
    return (await this.#queue('held-out', { manifest, tokens: this.heldOutTokens })) as HeldOutSet // only losses are given up
  }

  loss(job: LossJob, wanted: () => boolean = () => true): Promise<Loss | null> {
    const losses = this.#waiting.filter(({ kind }) => kind === 'loss')
    const oldest = losses.length >= LIMITS.evaluation.waiting ? losses[0] : undefined
    if (oldest) this.#waiting.splice(this.#waiting.indexOf(oldest), 1)
    oldest?.giveUp()
    return this.#queue('loss', job, wanted)
  }

  taskPiece(job: TaskJob, wanted: () => boolean = () => true): Promise<TaskPiece | null> {
    return this.#queue('tasks', job, wanted)
  }

  close(): void {
    this.#closed = true
    for (const { refuse } of this.#waiting) refuse(stopping())
    this.#waiting = []
    clearTimeout(this.#idle)
    this.#process.kill()
  }

  #queue<K extends Kind>(
    kind: K,
    job: Work[K]['job'],
    wanted: () => boolean = () => true,
  ): Promise<Work[K]['result'] | null> {
    return new Promise((resolve, reject) => {
      const begin = () => this.#persist(kind, job).then(resolve, reject)
      this.#waiting.push({ kind, wanted, begin, refuse: reject, giveUp: () => resolve(null) })
      if (this.#closed) this.close()
      else void this.#goOn()
    })
  }

  async #goOn(): Promise<void> {
    if (this.#working) return
    this.#working = true
    clearTimeout(this.#idle)
    for (;;) {
      const next = this.#next()
      if (next === undefined) break
      if (next.wanted()) await next.begin()
      else next.giveUp()
    }
    this.#working = false
    this.#idle = setTimeout(() => this.#process.kill(), IDLE_MS).unref()
  }

  /** Takes the one that is done next out of the queue, which is in the order of arrival. */
  #next(): Waiting | undefined {
    const urgency = Math.min(...this.#waiting.map(({ kind }) => URGENCY[kind]))
    const index = this.#waiting.findLastIndex(({ kind }) => URGENCY[kind] === urgency)
    return index < 0 ? undefined : this.#waiting.splice(index, 1)[0]
  }

  /** @throws PotluckError `evaluation-failed` when every process died of it. */
  async #persist<K extends Kind>(kind: K, job: Work[K]['job']): Promise<Work[K]['result']> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#process.ask(kind, job)
      } catch (error) {
        if (this.#closed) throw stopping()
        if (!(error instanceof ProcessDied)) throw error
        this.#deaths += 1
        if (attempt < ATTEMPTS) continue
        const last = `The evaluation process died ${ATTEMPTS} times over it, at last because ${error.message}.`
        throw new PotluckError('evaluation-failed', last, 500)
      }
    }
  }
}

const stopping = () => new PotluckError('internal', 'The coordinator is stopping.', 500)
