/**
 * Zero-shot tasks of rounds: which weights are measured on which tasks, one after another, in pieces that let the
 * rounds' losses go first; and that the results are kept with the hashes of what was measured. Rules: RULES.md.
 */
import { added, NO_TALLY, scoreOf } from '../../shared/evaluate/score.ts'
import { PotluckError } from '../../shared/protocol/errors.ts'
import { LIMITS } from '../../shared/protocol/limits.ts'
import type { TaskProgress } from '../../shared/protocol/tasks.ts'
import type { MetadataStore, TaskRecord } from '../store/metadata.ts'
import type { Measurable } from './evaluations.ts'
import type { Evaluator } from './evaluator.ts'
import { predictEffort } from './way.ts'

export interface TaskEvaluationParts {
  readonly store: Pick<MetadataStore, 'setTask'>
  readonly evaluator: Pick<Evaluator, 'taskPiece' | 'memoryBytes'>
  /** Of the tasks' blobs. */
  readonly folder: string
  readonly now: () => number
  /** What may be shown is another. */
  readonly changed: () => void
}

export interface TaskOrder extends Measurable {
  readonly tasks: readonly TaskRecord[]
  /** The first so many of each. */
  readonly examples: number
}

interface Waiting {
  readonly order: TaskOrder
  readonly resolve: (kept: boolean) => void
  readonly reject: (reason: unknown) => void
}

export class TaskEvaluations {
  readonly #parts: TaskEvaluationParts
  #waiting: Waiting[] = []
  #working = false
  #progress: TaskProgress | null = null

  constructor(parts: TaskEvaluationParts) {
    this.#parts = parts
  }

  /** Null when nothing is being measured. */
  get progress(): TaskProgress | null {
    return this.#progress
  }

  /**
   * [P5] True when all were measured and kept; false when newer rounds took its place or nobody wants it any more.
   * @throws PotluckError `evaluation-failed` and others, in words for the operator.
   */
  measure(order: TaskOrder): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ order, resolve, reject })
      if (this.#working && this.#waiting.length > LIMITS.tasks.waiting) this.#waiting.shift()?.resolve(false)
      void this.#goOn()
    })
  }

  async #goOn(): Promise<void> {
    if (this.#working) return
    this.#working = true
    for (;;) {
      const next = this.#waiting.pop()
      if (next === undefined) break
      await this.#all(next.order).then(next.resolve, next.reject)
      this.#show(null)
    }
    this.#working = false
  }

  async #all(order: TaskOrder): Promise<boolean> {
    const { memoryBytes } = this.#parts.evaluator
    const { bytes } = predictEffort(order.model)
    if (bytes > memoryBytes) {
      const gib = (value: number) => `${(value / 2 ** 30).toFixed(1)} GiB`
      const text = `Tasks are measured by the coordinator's own process. This model takes ${gib(bytes)}; ${gib(memoryBytes)} are allowed.`
      throw new PotluckError('evaluation-failed', text)
    }
    for (const task of order.tasks) if (!(await this.#one(order, task))) return false
    return true
  }

  async #one({ record, model, round, weights, examples, isCurrent }: TaskOrder, task: TaskRecord) {
    const { store, evaluator, folder, now } = this.#parts
    const { name, data } = task
    const begun = now()
    let [tally, done, of] = [NO_TALLY, 0, Math.min(examples, task.examples)]
    while (done < of) {
      this.#show({ task: name, round, done, of })
      const job = {
        config: model,
        weights,
        manifest: record.manifest ?? '',
        folder,
        data,
        examples,
        from: done,
      }
      const piece = await evaluator.taskPiece(job, isCurrent)
      if (piece === null || !isCurrent()) return false
      tally = added(tally, piece.tally)
      ;({ done, of } = piece)
    }
    const at = now()
    const measured = { weights, data, by: 'coordinator' as const, seconds: (at - begun) / 1_000, at }
    await store.setTask(record.id, round, { task: name, ...measured, ...scoreOf(tally) })
    return true
  }

  #show(progress: TaskProgress | null): void {
    this.#progress = progress
    this.#parts.changed()
  }
}
