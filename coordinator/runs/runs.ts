/**
 * The run's life: created, prepared (corpus and first weights), driven round by round, evaluated, shown. Wires the
 * round driver to the stores and threads. One run at a time; the latest one is the one volunteers see.
 */
import { sequencesInEpoch } from '../../shared/corpus/epoch.ts'
import { manifestFromBytes } from '../../shared/corpus/manifest.ts'
import type { TaskName } from '../../shared/evaluate/tasks.ts'
import { parameterCount } from '../../shared/model/layout.ts'
import type { AdminView, MeshView, RunAction, VolunteerRow } from '../../shared/protocol/admin.ts'
import type { StartRequest } from '../../shared/protocol/checkpoints.ts'
import { PotluckError } from '../../shared/protocol/errors.ts'
import type { TaskResult } from '../../shared/protocol/evaluation.ts'
import type { LeaseAnswer, LeaseRequest } from '../../shared/protocol/messages.ts'
import { modelOf } from '../../shared/protocol/modelOf.ts'
import type { Lease, RoundSummary, RunConfig, RunView } from '../../shared/protocol/run.ts'
import type { MeasureTasks } from '../../shared/protocol/tasks.ts'
import { newId } from '../accounts/secrets.ts'
import type { Aggregator } from '../aggregate/aggregator.ts'
import { Checkpoints } from '../checkpoints/checkpoints.ts'
import { Imports } from '../checkpoints/imports.ts'
import { firstBases } from '../checkpoints/start.ts'
import { findCorpus, manifestFor } from '../corpus/manifestFor.ts'
import type { Evaluator } from '../evaluate/evaluator.ts'
import type { VolunteerEvaluator } from '../evaluate/volunteers.ts'
import { mayRollBack } from '../rounds/closing.ts'
import { type Clock, RoundDriver } from '../rounds/driver.ts'
import type { ClosedRound, Effect } from '../rounds/events.ts'
import { firstStep, fragmentIndex, totalSteps } from '../rounds/schedule.ts'
import { freshMachine, type Machine, type OpenLease } from '../rounds/state.ts'
import { Caller } from '../rounds/waiting.ts'
import type { BlobStore } from '../store/blobs.ts'
import type { MetadataStore, RunRecord } from '../store/metadata.ts'
import { taskRow } from '../tasks/tasks.ts'
import { commitOf } from './commit.ts'
import { contributionBytes } from './contribution.ts'
import { Measuring } from './measuring.ts'
import type { RunsObserver } from './observer.ts'
import { Problems } from './problems.ts'
import { Roster } from './roster.ts'
import { contributionRow, importRow, runView, statusOf, volunteerRow } from './views.ts'

export interface RunParts {
  readonly store: MetadataStore
  /** Public: weights, manifests, shards. */
  readonly blobs: BlobStore
  readonly blobDirectory: string
  /** Private: contributions and velocity. */
  readonly vault: BlobStore
  readonly vaultDirectory: string
  readonly aggregator: Aggregator
  readonly evaluator: Evaluator
  /** Of the examples of zero-shot tasks. */
  readonly taskDirectory: string
  readonly clock: Clock
  /** Whether a contribution of this hash is on its way in. */
  readonly comes: (hash: string) => boolean
  readonly observer: RunsObserver
}

export interface ShownMesh {
  view(): MeshView
  groupOf(volunteer: string): { readonly members: readonly string[]; readonly linked: boolean } | null
}

const NO_MESH: MeshView = { groups: 0, linked: 0, means: 0, failed: 0, contributions: 0 }
const LISTED = 200

export class Runs {
  readonly roster = new Roster()
  readonly problems: Problems
  readonly #measuring: Measuring
  readonly checkpoints: Checkpoints
  readonly imports: Imports
  readonly #parts: RunParts
  readonly #listeners = new Set<() => void>()
  readonly #callers = new Set<(volunteer: string) => void>()
  readonly #waiting: Caller
  readonly #stop = new AbortController()
  #record: RunRecord | null = null
  #driver: RoundDriver | null = null
  #rounds: RoundSummary[] = []
  #samples: { round: number; text: string }[] = []
  #tasks: TaskResult[] = []
  #contributors = 0
  /**
   * Bytes of blobs sent since the last round closed. Saved with every commit and when the coordinator stops: kill -9
   * loses what was sent since the last commit.
   */
  #bytesDown = 0
  #mesh: ShownMesh | null = null

  constructor(parts: RunParts) {
    this.#parts = parts
    this.#waiting = new Caller(
      parts.clock,
      () => this.machine,
      (volunteer) => {
        for (const tell of this.#callers) tell(volunteer)
      },
    )
    this.problems = new Problems(parts.clock, () => this.#changed())
    this.checkpoints = new Checkpoints({ ...parts, machine: () => this.machine })
    this.#measuring = new Measuring({
      ...{ ...parts, problems: this.problems, checkpoints: this.checkpoints },
      present: () => ({
        ...{ record: this.#record, machine: this.machine, rounds: this.#rounds, tasks: this.#tasks },
        stopping: this.#stop.signal.aborted,
      }),
      measured: async (run, round) => {
        await this.#reload(run, round - 1)
        this.#changed()
      },
      changed: () => this.#changed(),
    })
    this.imports = new Imports({ ...parts, checkpoints: this.checkpoints, changed: () => this.#changed() })
  }

  /** Takes up what an earlier process left. @throws PotluckError `bad-state`. */
  async open(): Promise<void> {
    this.#record = await this.#parts.store.latestRun()
    if (this.#record === null) return
    this.#bytesDown = this.#record.bytesDown
    await this.#reload(this.#record.id)
    if (this.#record.status === 'preparing') this.#inBackground(this.#prepare(this.#record))
    if (this.#record.machine) {
      this.#drive(this.#record.machine)
      await this.#driver?.restart()
      this.slices.withdraw()
      this.#inBackground(this.#measureMissing())
    }
  }

  async close(): Promise<void> {
    this.#stop.abort(new PotluckError('internal', 'The coordinator is stopping.'))
    this.#waiting.close()
    this.slices.close()
    await this.#driver?.close()
    await this.#saveBytesDown().catch(() => undefined) // what the last commit saved stands
    this.#listeners.clear()
    this.#callers.clear()
  }

  /** Slices of evaluations that volunteers measure. */
  get slices(): VolunteerEvaluator {
    return this.#measuring.slices
  }

  get driver(): RoundDriver | null {
    return this.#driver
  }

  get machine(): Machine | null {
    return this.#driver?.machine ?? null
  }

  /** All merged rounds, oldest first. */
  get rounds(): readonly RoundSummary[] {
    return this.#rounds
  }

  get observer(): RunsObserver {
    return this.#parts.observer
  }

  /** Calls back whenever a view may have changed. */
  onChange(listener: () => void): void {
    this.#listeners.add(listener)
  }

  /** Calls back with a volunteer who waits for a lease and is to ask for one now. */
  onCall(listener: (volunteer: string) => void): void {
    this.#callers.add(listener)
  }

  /** Something about the people changed. */
  touch(): void {
    this.#changed()
  }

  countBytesDown(bytes: number): void {
    this.#bytesDown += bytes
    this.observer.sent(bytes)
  }

  /** Who knows of groups. */
  showMesh(mesh: ShownMesh): void {
    this.#mesh = mesh
  }

  // What the operator does.

  /** @throws PotluckError `run-exists`, and what findCorpus and Checkpoints.startingPoint throw */
  async create(config: RunConfig, from: StartRequest | null = null): Promise<string> {
    const { status } = this
    if (status !== null && !['completed', 'ended', 'failed'].includes(status)) {
      throw new PotluckError('run-exists', `There is a run already, and it is ${status}. End it first.`, 409)
    }
    if (config.corpus !== null) await findCorpus(this.#parts.store, config.corpus)
    const start = from && (await this.checkpoints.startingPoint(from, config))
    await this.#driver?.close()
    this.slices.withdraw()
    const id = newId()
    await this.#parts.store.createRun({ id, config, start, now: this.#parts.clock.now() })
    this.#driver = null
    this.#bytesDown = 0
    this.#record = await this.#parts.store.latestRun()
    await this.#reload(id)
    if (this.#record) this.#inBackground(this.#prepare(this.#record))
    this.#changed()
    return id
  }

  /** [B1] @throws PotluckError `no-run`, `run-state`, `not-found`, `bad-blob` */
  async rollBack(run: string, round: number): Promise<void> {
    const driver = this.#driver
    if (!driver || driver.machine.run !== run)
      throw new PotluckError('no-run', 'That run is not the one under way.', 409)
    const { status } = driver.machine
    if (!mayRollBack(driver.machine))
      throw new PotluckError('run-state', `A run that is ${status} cannot be rolled back.`, 409)
    await this.checkpoints.at(run, round, (to) =>
      driver.dispatch({ type: 'roll-back', to, now: this.#parts.clock.now() }),
    )
    this.slices.withdraw()
    this.#inBackground(this.#measureMissing())
  }

  /**
   * Begins to measure the newest weights on zero-shot tasks, and tells which.
   * @throws PotluckError `no-run`, `bad-task` when none is imported
   */
  async measureTasks(run: string, request: MeasureTasks): Promise<{ round: number; tasks: TaskName[] }> {
    const { done, ...begun } = await this.#measuring.tasksNow(run, request)
    this.#inBackground(done)
    return begun
  }

  async act(action: RunAction): Promise<void> {
    const driver = this.#driver
    const { status } = this
    const allowed: Record<RunAction, string[]> = {
      start: ['ready'],
      pause: ['running'],
      resume: ['paused'],
      end: ['ready', 'running', 'paused'],
    }
    if (!driver || status === null) throw new PotluckError('no-run', 'There is no run to steer yet.', 409)
    if (!allowed[action].includes(status)) {
      throw new PotluckError('run-state', `A run that is ${status} cannot ${action}.`, 409)
    }
    await driver.dispatch({ type: action, now: this.#parts.clock.now() })
  }

  // What volunteers do; `driver` is null while there is no prepared run.

  async presence(volunteer: string, type: 'join' | 'leave' | 'disconnect' | 'remove'): Promise<void> {
    const now = this.#parts.clock.now()
    const tokensPerSecond = this.roster.get(volunteer)?.tokensPerSecond ?? null
    const event = type === 'join' ? { type, tokensPerSecond } : { type }
    await this.#driver?.dispatch({ ...event, volunteer, now })
    if (type !== 'join') {
      this.slices.gone(volunteer)
      this.#waiting.forget(volunteer)
    }
    this.#changed()
  }

  /** Open ones; null while there is no prepared run. */
  leasesOf(volunteer: string): string[] | null {
    return this.machine?.leases.of(volunteer).map(([id]) => id) ?? null
  }

  /** [L11] Who is refused waits to be called. */
  async request(volunteer: string, request: LeaseRequest): Promise<LeaseAnswer> {
    const answer = await this.#answerTo(volunteer, request)
    if ('wait' in answer) this.#waiting.refused(volunteer)
    else this.#waiting.forget(volunteer)
    return answer
  }

  async #answerTo(volunteer: string, { run, after, tokensPerSecond }: LeaseRequest): Promise<LeaseAnswer> {
    const { status } = this
    if (!this.#driver || this.#record?.id !== run) {
      return { wait: status === 'failed' ? 'failed' : status === 'preparing' ? 'preparing' : 'no-run' }
    }
    const now = this.#parts.clock.now()
    const { told } = this.roster
    const asked = { volunteer, id: newId(), after, tokensPerSecond, told, now }
    const effects = await this.#driver.dispatch({ type: 'request', ...asked })
    for (const effect of effects) {
      if (effect.type === 'wait') return { wait: effect.reason }
      if (effect.type !== 'granted') continue
      this.roster.known(told)
      return { lease: this.#leaseOf(effect.id, effect.lease, this.#driver.machine) }
    }
    throw new PotluckError('internal', 'The request for a lease found no answer.', 500)
  }

  async release(volunteer: string, lease: string): Promise<void> {
    await this.#driver?.dispatch({ type: 'release', volunteer, lease, now: this.#parts.clock.now() })
  }

  // What pages see.

  get status(): RunView['status'] | null {
    return this.#record && statusOf(this.#record, this.machine)
  }

  /** Another one whenever all have something else to do. */
  get phase(): string {
    const { round, era, phase } = this.machine ?? {}
    return JSON.stringify([this.#record?.id, this.status, era, round, phase])
  }

  view(): RunView | null {
    const record = this.#record
    if (record === null) return null
    const remembered = { record, machine: this.machine, parameters: parameterCount(modelOf(record.config)) }
    const shown = { rounds: this.#rounds, samples: this.#samples, contributors: this.#contributors }
    const measured = { evaluation: this.slices.view, tasks: this.#tasks }
    return runView({ ...remembered, ...shown, ...measured }, this.#parts.clock.now())
  }

  async adminView(): Promise<AdminView> {
    const { store } = this.#parts
    const records = await store.volunteers(LISTED)
    const credit = await store.credit(records.map((record) => record.id))
    const rows = records.map((r) =>
      volunteerRow(r, this.roster.get(r.id), credit.get(r.id), this.machine, this.#groupOf(r.id)),
    )
    const contributions = this.#record ? await store.contributions(this.#record.id, LISTED) : []
    return {
      run: this.view(),
      volunteers: rows.sort((a, b) => Number(b.connected) - Number(a.connected)),
      mesh: this.#mesh?.view() ?? NO_MESH,
      rounds: this.#rounds.slice(-LISTED).reverse(),
      contributions: contributions.map(contributionRow),
      checkpoints: await this.checkpoints.list(),
      rollbacks: this.#record ? await store.rollbacks(this.#record.id) : [],
      discarded: this.#record ? await store.discardedRounds(this.#record.id, LISTED) : [],
      imports: (await store.imports()).map(importRow),
      corpora: (await store.corpora()).map(({ hash: _, ...row }) => row),
      tasks: (await store.tasks()).map(taskRow),
      measuring: this.#measuring.progress,
      problems: this.problems.list(),
    }
  }

  #groupOf(volunteer: string): VolunteerRow['group'] {
    const group = this.#mesh?.groupOf(volunteer)
    return group ? { size: group.members.length, linked: group.linked } : null
  }

  // How a run comes to be.

  async #prepare({ id, config, start }: RunRecord): Promise<void> {
    const { store, blobs, blobDirectory } = this.#parts
    try {
      const { sequenceLength } = modelOf(config)
      const manifestHash = await manifestFor(config, {
        store,
        blobs,
        blobDirectory,
        signal: this.#stop.signal,
      })
      const manifest = manifestFromBytes(await blobs.get(manifestHash))
      const fragments = await firstBases(this.#parts, config, start)
      const pool = start?.kind === 'checkpoint' ? start.pool : null
      const prepared = { run: id, config, sequenceLength, fragments, ...(pool && { pool }) }
      const machine = freshMachine({ ...prepared, sequencesPerEpoch: sequencesInEpoch(manifest) })
      await store.prepareRun(id, machine, manifestHash)
    } catch (error) {
      if (this.#stop.signal.aborted) return
      await this.#failed(id, error)
      return
    }
    this.#record = await store.latestRun()
    if (this.#record?.machine) this.#drive(this.#record.machine)
    for (const live of this.roster.all()) if (live.willing) await this.presence(live.id, 'join')
    this.#changed()
    await this.#measuring.untrained()
  }

  async #failed(id: string, error: unknown): Promise<void> {
    const text = error instanceof PotluckError ? `${error.message} (${error.code})` : String(error)
    await this.#parts.store.failRun(id, text)
    this.problems.report('prepare-failed', `The run could not be prepared: ${text}`)
    this.#record = await this.#parts.store.latestRun()
    this.#changed()
  }

  #drive(machine: Machine): void {
    const { clock } = this.#parts
    this.#driver = new RoundDriver(machine, {
      clock,
      commit: (state, effects, now) => this.#commit(state, effects, now),
      merge: (merge) => this.checkpoints.merge(machine.run, merge),
      changed: () => {
        this.#waiting.look()
        this.#changed()
      },
      roundClosed: (closed) => this.#inBackground(this.#afterRound(closed)),
      problem: (code, message) => this.problems.report(code, message),
    })
  }

  async #commit(machine: Machine, effects: readonly Effect[], now: number): Promise<void> {
    const bytesDown = this.#bytesDown
    const before = this.machine ?? machine
    await this.#parts.store.commit(commitOf(machine, effects, now, bytesDown))
    this.observer.committed({ before, after: machine, effects, now })
    const closed = effects.find((effect) => effect.type === 'round-closed')?.closed
    if (closed) {
      this.#bytesDown -= bytesDown // more may have gone out meanwhile
      this.checkpoints.committed()
    }
    if (effects.some(({ type }) => type === 'rolled-back')) await this.#reload(machine.run)
    else if (closed) await this.#reload(machine.run, closed.round - 1)
  }

  async #saveBytesDown(): Promise<void> {
    if (this.machine) await this.#commit(this.machine, [], this.#parts.clock.now())
  }

  async #afterRound({ round }: ClosedRound): Promise<void> {
    await this.#measuring.afterRound(round)
    await this.checkpoints.prune()
  }

  async #measureMissing(): Promise<void> {
    await this.#measuring.missing()
    await this.checkpoints.prune()
  }

  /** What has come to be since a round that stands as it is known. */
  async #reload(run: string, after = 0): Promise<void> {
    const { store } = this.#parts
    const known = this.#rounds.findLast(({ round }) => round <= after)
    const since = await store.rounds(run, known)
    this.#rounds = [...this.#rounds.filter(({ round }) => round <= (known?.round ?? 0)), ...since]
    this.#samples = await store.samples(run)
    this.#tasks = await store.taskResults(run)
    this.#contributors = await store.contributors(run)
    const record = await store.latestRun()
    if (record?.id === run) this.#record = record
  }

  #leaseOf(id: string, lease: OpenLease, machine: Machine): Lease {
    const { config } = machine
    const { round, steps, ranges } = lease
    return {
      id,
      run: machine.run,
      round,
      era: machine.era,
      fragment: fragmentIndex(config, round),
      steps,
      batchSize: config.batchSize,
      firstStep: firstStep(config, round),
      totalSteps: totalSteps(config),
      peakLearningRate: config.innerLearningRate,
      ranges,
      codec: config.codec,
      errorFeedback: config.errorFeedback,
      bytes: contributionBytes(machine, lease),
      deadlineAt: round === machine.round ? machine.deadlineAt : null,
    }
  }

  #inBackground(work: Promise<unknown>): void {
    work.catch((error: unknown) => this.problems.report('internal', String(error)))
  }

  #changed(): void {
    for (const listener of this.#listeners) listener()
  }
}
