/**
 * The run's life: created, prepared (corpus and first weights), driven round by round, evaluated, shown. Wires the
 * round driver to the stores and threads. One run at a time; the latest one is the one volunteers see.
 */
import { sequencesInEpoch } from '../../shared/corpus/epoch.ts'
import { manifestFromBytes } from '../../shared/corpus/manifest.ts'
import { parameterCount } from '../../shared/model/layout.ts'
import type { AdminView, RunAction } from '../../shared/protocol/admin.ts'
import type { StartRequest } from '../../shared/protocol/checkpoints.ts'
import { PotluckError } from '../../shared/protocol/errors.ts'
import type { TaskResult } from '../../shared/protocol/evaluation.ts'
import { LIMITS } from '../../shared/protocol/limits.ts'
import type { LeaseAnswer, LeaseRequest } from '../../shared/protocol/messages.ts'
import type { Lease, RoundSummary, RunConfig, RunView } from '../../shared/protocol/run.ts'
import { newId } from '../accounts/secrets.ts'
import type { Aggregator } from '../aggregate/aggregator.ts'
import { Checkpoints } from '../checkpoints/checkpoints.ts'
import { Imports } from '../checkpoints/imports.ts'
import { firstBases, modelOf } from '../checkpoints/start.ts'
import { prepareCorpus } from '../corpus/prepare.ts'
import { Evaluations } from '../evaluate/evaluations.ts'
import type { Evaluator } from '../evaluate/evaluator.ts'
import { VolunteerEvaluator } from '../evaluate/volunteers.ts'
import { type Clock, RoundDriver } from '../rounds/driver.ts'
import { type ClosedRound, type Effect, mayRollBack } from '../rounds/machine.ts'
import { firstStep, fragmentIndex, totalSteps } from '../rounds/schedule.ts'
import { freshMachine, type Machine, type OpenLease } from '../rounds/state.ts'
import type { BlobStore } from '../store/blobs.ts'
import type { MetadataStore, RunRecord } from '../store/metadata.ts'
import { commitOf } from './commit.ts'
import { contributionBytes } from './contribution.ts'
import type { RunsObserver } from './observer.ts'
import { Problems } from './problems.ts'
import { Roster } from './roster.ts'
import { contributionRow, importRow, runView, volunteerRow } from './views.ts'

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
  readonly clock: Clock
  /** Whether a contribution of this hash is on its way in. */
  readonly comes: (hash: string) => boolean
  readonly observer: RunsObserver
}

const LISTED = 200

export class Runs {
  readonly roster = new Roster()
  readonly problems: Problems
  /** Slices of evaluations that volunteers measure. */
  readonly slices: VolunteerEvaluator
  readonly #evaluations: Evaluations
  readonly checkpoints: Checkpoints
  readonly imports: Imports
  readonly #parts: RunParts
  readonly #listeners = new Set<() => void>()
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

  constructor(parts: RunParts) {
    this.#parts = parts
    this.problems = new Problems(parts.clock, () => this.#changed())
    const { store, evaluator, clock, observer } = parts
    this.slices = new VolunteerEvaluator({
      clock,
      changed: () => this.#changed(),
      answered: (result) => observer.sliceAnswered(result),
      problem: (code, message) => this.problems.report(code, message),
    })
    this.#evaluations = new Evaluations({ store, evaluator, volunteers: this.slices, now: () => clock.now() })
    this.checkpoints = new Checkpoints({ ...parts, machine: () => this.machine })
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
      this.#inBackground(this.#evaluateMissing().then(() => this.checkpoints.prune()))
    }
  }

  async close(): Promise<void> {
    this.#stop.abort(new PotluckError('internal', 'The coordinator is stopping.'))
    this.slices.close()
    await this.#driver?.close()
    await this.#saveBytesDown().catch(() => undefined) // what the last commit saved stands
    this.#listeners.clear()
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

  /** Something about the people changed. */
  touch(): void {
    this.#changed()
  }

  countBytesDown(bytes: number): void {
    this.#bytesDown += bytes
    this.observer.sent(bytes)
  }

  // What the operator does.

  /** @throws PotluckError `run-exists`, and what Checkpoints.startingPoint throws */
  async create(config: RunConfig, from: StartRequest | null = null): Promise<string> {
    const status = this.view()?.status
    if (status !== undefined && !['completed', 'ended', 'failed'].includes(status)) {
      throw new PotluckError('run-exists', `There is a run already, and it is ${status}. End it first.`, 409)
    }
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
    this.#inBackground(this.#evaluateMissing().then(() => this.checkpoints.prune()))
  }

  async act(action: RunAction): Promise<void> {
    const driver = this.#driver
    const status = this.view()?.status
    const allowed: Record<RunAction, string[]> = {
      start: ['ready'],
      pause: ['running'],
      resume: ['paused'],
      end: ['ready', 'running', 'paused'],
    }
    if (!driver || status === undefined)
      throw new PotluckError('no-run', 'There is no run to steer yet.', 409)
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
    if (type !== 'join') this.slices.gone(volunteer)
    this.#changed()
  }

  async request(volunteer: string, { run, after, tokensPerSecond }: LeaseRequest): Promise<LeaseAnswer> {
    const status = this.view()?.status
    if (!this.#driver || this.#record?.id !== run) {
      return { wait: status === 'failed' ? 'failed' : status === 'preparing' ? 'preparing' : 'no-run' }
    }
    const now = this.#parts.clock.now()
    // Who holds no lease trains nothing that could change a speed.
    const training = Object.values(this.#driver.machine.leases).map((lease) => lease.volunteer)
    const speeds = { ...this.roster.speeds(training), [volunteer]: tokensPerSecond }
    const asked = { volunteer, id: newId(), after, speeds, now }
    const effects = await this.#driver.dispatch({ type: 'request', ...asked })
    for (const effect of effects) {
      if (effect.type === 'wait') return { wait: effect.reason }
      if (effect.type === 'granted')
        return { lease: this.#leaseOf(effect.id, effect.lease, this.#driver.machine) }
    }
    throw new PotluckError('internal', 'The request for a lease found no answer.', 500)
  }

  async release(volunteer: string, lease: string): Promise<void> {
    await this.#driver?.dispatch({ type: 'release', volunteer, lease, now: this.#parts.clock.now() })
  }

  // What pages see.

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
    const rows = records.map((r) => volunteerRow(r, this.roster.get(r.id), credit.get(r.id), this.machine))
    const contributions = this.#record ? await store.contributions(this.#record.id, LISTED) : []
    return {
      run: this.view(),
      volunteers: rows.sort((a, b) => Number(b.connected) - Number(a.connected)),
      rounds: this.#rounds.slice(-LISTED).reverse(),
      contributions: contributions.map(contributionRow),
      checkpoints: await this.checkpoints.list(),
      rollbacks: this.#record ? await store.rollbacks(this.#record.id) : [],
      discarded: this.#record ? await store.discardedRounds(this.#record.id, LISTED) : [],
      imports: (await store.imports()).map(importRow),
      problems: this.problems.list(),
    }
  }

  // How a run comes to be.

  async #prepare({ id, config, start }: RunRecord): Promise<void> {
    const { store, blobs, blobDirectory } = this.#parts
    try {
      const model = modelOf(config)
      const { vocabSize, sequenceLength } = model
      const request = { blobDirectory, vocabSize, sequenceLength, seed: config.seed }
      const { manifestHash } = await prepareCorpus(request, this.#stop.signal)
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
    await this.#evaluate(0, this.#record?.initialWeights ?? null)
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
      changed: () => this.#changed(),
      roundClosed: (closed) => this.#inBackground(this.#afterRound(closed)),
      problem: (code, message) => this.problems.report(code, message),
    })
  }

  async #commit(machine: Machine, effects: readonly Effect[], now: number): Promise<void> {
    const bytesDown = this.#bytesDown
    const before = this.machine ?? machine
    await this.#parts.store.commit(commitOf(machine, effects, now, bytesDown))
    this.observer.committed({ before, after: machine, effects, now })
    const happened = (type: Effect['type']) => effects.some((effect) => effect.type === type)
    if (happened('round-closed')) {
      this.#bytesDown -= bytesDown // more may have gone out meanwhile
      this.checkpoints.committed()
    }
    if (happened('round-closed') || happened('rolled-back')) await this.#reload(machine.run)
  }

  async #saveBytesDown(): Promise<void> {
    if (this.machine) await this.#commit(this.machine, [], this.#parts.clock.now())
  }

  async #afterRound({ round }: ClosedRound): Promise<void> {
    if (this.machine === null) return
    await this.#evaluate(round, weightsOf(this.machine))
    await this.checkpoints.prune()
  }

  /** After a restart or a roll-back: what is not measured of the rounds whose checkpoints are kept, and the newest. */
  async #evaluateMissing(): Promise<void> {
    const record = this.#record
    if (record === null) return
    const last = this.#rounds.at(-1)
    const newest =
      last?.valLoss === null && this.machine ? [[last.round, weightsOf(this.machine)] as const] : []
    const kept = await this.#parts.store.checkpoints(record.id)
    const missing = kept
      .filter(({ round, valLoss }) => valLoss === null && round > 0 && round !== last?.round)
      .map(({ round, fragments }) => [round, fragments.map(({ weights }) => weights)] as const)
    const initial = record.initialValLoss === null ? [[0, record.initialWeights] as const] : []
    const all = [...missing.slice(-LIMITS.evaluation.waiting + 2), ...newest, ...initial]
    await Promise.all(all.map(([round, weights]) => this.#evaluate(round, weights)))
  }

  async #evaluate(round: number, weights: readonly string[] | null): Promise<void> {
    const record = this.#record
    if (record === null || weights === null) return
    const release = this.checkpoints.hold(record.id, weights)
    const era = this.machine?.era // a round of another era has other weights
    try {
      const model = modelOf(record.config)
      const isCurrent = () =>
        this.#record?.id === record.id &&
        !this.#stop.signal.aborted &&
        (round === 0 || this.machine?.era === era)
      const seconds = await this.#evaluations.heldOut({ record, model, round, weights, isCurrent })
      if (seconds === null || !isCurrent()) return
      this.observer.evaluated(seconds)
      await this.#reload(record.id)
      this.#changed()
    } catch (error) {
      if (this.#stop.signal.aborted) return
      this.observer.evaluationFailed()
      this.problems.report('evaluation-failed', `Round ${round}: ${String(error)}`)
    } finally {
      release()
    }
  }

  async #reload(run: string): Promise<void> {
    const { store } = this.#parts
    this.#rounds = await store.rounds(run)
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

const weightsOf = ({ fragments }: Machine): string[] => fragments.map(({ base }) => base.weights)

export { modelOf }
