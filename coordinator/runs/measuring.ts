/**
 * What is measured of the run under way, and when: each round's held-out loss, zero-shot tasks as the config says or the
 * operator asks, and after a restart or a roll-back what is missing. Weights stay on disk for as long as they are wanted
 * here. How it is measured is coordinator/evaluate's.
 */
import type { TaskName } from '../../shared/evaluate/tasks.ts'
import { PotluckError } from '../../shared/protocol/errors.ts'
import type { TaskResult } from '../../shared/protocol/evaluation.ts'
import { LIMITS } from '../../shared/protocol/limits.ts'
import { modelOf } from '../../shared/protocol/modelOf.ts'
import type { RoundSummary } from '../../shared/protocol/run.ts'
import type { MeasureTasks, TaskProgress, TaskRules } from '../../shared/protocol/tasks.ts'
import type { Checkpoints } from '../checkpoints/checkpoints.ts'
import { Evaluations, type Measurable } from '../evaluate/evaluations.ts'
import type { Evaluator } from '../evaluate/evaluator.ts'
import { TaskEvaluations } from '../evaluate/taskEvaluations.ts'
import { VolunteerEvaluator } from '../evaluate/volunteers.ts'
import type { Clock } from '../rounds/driver.ts'
import type { Machine } from '../rounds/state.ts'
import type { MetadataStore, RunRecord, TaskRecord } from '../store/metadata.ts'
import { imported } from '../tasks/tasks.ts'
import type { RunsObserver } from './observer.ts'
import type { Problems } from './problems.ts'

/** The run as it is when it is asked for. */
export interface Present {
  readonly record: RunRecord | null
  readonly machine: Machine | null
  readonly rounds: readonly RoundSummary[]
  readonly tasks: readonly TaskResult[]
  /** The coordinator stops: nothing of this matters any more. */
  readonly stopping: boolean
}

export interface MeasuringParts {
  readonly store: MetadataStore
  readonly evaluator: Evaluator
  readonly taskDirectory: string
  readonly clock: Clock
  readonly observer: RunsObserver
  readonly problems: Problems
  readonly checkpoints: Checkpoints
  readonly present: () => Present
  /** New results are in the store, of one round. */
  readonly measured: (run: string, round: number) => Promise<void>
  /** What may be shown is another. */
  readonly changed: () => void
}

export class Measuring {
  /** Slices of evaluations that volunteers measure. */
  readonly slices: VolunteerEvaluator
  readonly #parts: MeasuringParts
  readonly #evaluations: Evaluations
  readonly #tasks: TaskEvaluations

  constructor(parts: MeasuringParts) {
    this.#parts = parts
    const { store, evaluator, clock, observer, problems, changed } = parts
    const now = () => clock.now()
    this.slices = new VolunteerEvaluator({
      ...{ clock, changed },
      answered: (result) => observer.sliceAnswered(result),
      problem: (code, message) => problems.report(code, message),
    })
    this.#evaluations = new Evaluations({ store, evaluator, volunteers: this.slices, now })
    this.#tasks = new TaskEvaluations({ store, evaluator, folder: parts.taskDirectory, now, changed })
  }

  /** Of zero-shot tasks; null when none is being measured. */
  get progress(): TaskProgress | null {
    return this.#tasks.progress
  }

  async untrained(): Promise<void> {
    const { record } = this.#parts.present()
    if (record?.initialWeights) await this.#loss(0, record.initialWeights)
  }

  /** Until its loss is measured; tasks take longer, and go on in the background. */
  async afterRound(round: number): Promise<void> {
    const { machine } = this.#parts.present()
    if (machine === null) return
    const weights = weightsOf(machine)
    this.#tasksInBackground(round, weights, machine.config.tasks)
    await this.#loss(round, weights)
  }

  /** After a restart or a roll-back, until the losses are measured: what is not measured of the rounds whose checkpoints are kept, and the newest. */
  async missing(): Promise<void> {
    const { record, machine, rounds, tasks } = this.#parts.present()
    if (record === null) return
    const last = rounds.at(-1)
    const weights = machine && weightsOf(machine)
    const kept = await this.#parts.store.checkpoints(record.id)
    const older = kept.filter(({ round, valLoss }) => valLoss === null && round > 0 && round !== last?.round)
    const losses = older
      .slice(-LIMITS.evaluation.waiting + 2) // and two more
      .map(({ round, fragments }) =>
        this.#loss(
          round,
          fragments.map((base) => base.weights),
        ),
      )
    if (last?.valLoss === null && weights) losses.push(this.#loss(last.round, weights))
    if (record.initialValLoss === null) losses.push(this.untrained())
    if (last && weights && !tasks.some(({ round }) => round === last.round))
      this.#tasksInBackground(last.round, weights, record.config.tasks)
    await Promise.all(losses)
  }

  /**
   * Begins to measure the newest weights on zero-shot tasks, and tells which.
   * @throws PotluckError `no-run`, `bad-task` when none is imported
   */
  async tasksNow(
    run: string,
    { names, examples }: MeasureTasks,
  ): Promise<{ round: number; tasks: TaskName[]; done: Promise<void> }> {
    const { machine, rounds } = this.#parts.present()
    if (machine?.run !== run) throw new PotluckError('no-run', 'That run is not the one under way.', 409)
    const round = rounds.at(-1)?.round ?? 0
    const rules = machine.config.tasks
    const measurable = this.#measurable(round, weightsOf(machine))
    const tasks = await imported(this.#parts.store, names ?? rules.names)
    const done = this.#held(measurable, () => this.#measure(measurable, tasks, examples ?? rules.examples))
    return { round, tasks: tasks.map(({ name }) => name), done }
  }

  #tasksInBackground(round: number, weights: string[], rules: TaskRules): void {
    const { problems } = this.#parts
    this.#tasksAfter(round, weights, rules).catch((error: unknown) =>
      problems.report('internal', String(error)),
    )
  }

  /** What the config asks for after this round. */
  async #tasksAfter(round: number, weights: string[], { every, names, examples }: TaskRules): Promise<void> {
    if (every === 0 || round % every > 0) return
    const measurable = this.#measurable(round, weights)
    await this.#held(measurable, async () => {
      const tasks = await imported(this.#parts.store, names).catch((error: unknown) => {
        this.#parts.problems.report('bad-task', `Round ${round}: ${String(error)}`)
        return []
      })
      await this.#measure(measurable, tasks, examples)
    })
  }

  async #measure(at: Measurable | null, tasks: readonly TaskRecord[], examples: number): Promise<void> {
    if (at === null || tasks.length === 0) return
    try {
      if (await this.#tasks.measure({ ...at, tasks, examples }))
        await this.#parts.measured(at.record.id, at.round)
    } catch (error) {
      const what = `Zero-shot tasks after round ${at.round}: ${String(error)}`
      if (!this.#parts.present().stopping) this.#parts.problems.report('evaluation-failed', what)
    }
  }

  async #loss(round: number, weights: readonly string[]): Promise<void> {
    const at = this.#measurable(round, weights)
    const { observer, problems, present, measured } = this.#parts
    await this.#held(at, async () => {
      if (at === null) return
      try {
        const seconds = await this.#evaluations.heldOut(at)
        if (seconds === null || !at.isCurrent()) return
        observer.evaluated(seconds)
        await measured(at.record.id, round)
      } catch (error) {
        if (present().stopping) return
        observer.evaluationFailed()
        problems.report('evaluation-failed', `Round ${round}: ${String(error)}`)
      }
    })
  }

  /** The weights after `round`, and whether they still are; null when there is no run. */
  #measurable(round: number, weights: readonly string[]): Measurable | null {
    const { present } = this.#parts
    const { record, machine } = present()
    if (record === null) return null
    const era = machine?.era // a round of another era has other weights
    const isCurrent = () => {
      const now = present()
      return now.record?.id === record.id && !now.stopping && (round === 0 || now.machine?.era === era)
    }
    return { record, model: modelOf(record.config), round, weights, isCurrent }
  }

  /** Its weights stay on disk for as long as `work` takes. */
  async #held(at: Measurable | null, work: () => Promise<void>): Promise<void> {
    const release = at ? this.#parts.checkpoints.hold(at.record.id, at.weights) : () => undefined
    try {
      await work()
    } finally {
      release()
    }
  }
}

const weightsOf = ({ fragments }: Machine): string[] => fragments.map(({ base }) => base.weights)
