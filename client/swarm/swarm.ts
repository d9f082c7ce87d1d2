/**
 * The volunteer's side of the conversation: connect, lease, train, contribute, repeat, as the buttons allow. What
 * the page draws is board.ts, a turn itself turn.ts, the socket connection.ts, the engine tabEngine.ts.
 */
import type { ReadonlySignal } from '@preact/signals'
import type { Welcome } from '../../shared/protocol/messages.ts'
import { modelOf } from '../../shared/protocol/modelOf.ts'
import { withNews } from '../../shared/protocol/news.ts'
import type { FragmentView, Lease, RunView, WaitReason } from '../../shared/protocol/run.ts'
import { Mesh } from '../mesh/mesh.ts'
import { blobStore } from '../storage/blobStore.ts'
import { traffic } from '../storage/blobs.ts'
import { forgetReplicas } from '../storage/replica.ts'
import { GlobalWeights } from '../storage/weights.ts'
import { Asking } from './asking.ts'
import { Board } from './board.ts'
import { chancesOf, isOver, obstacleOf, patienceOf, prospectsOf, wantsAnother } from './chances.ts'
import { Connection } from './connection.ts'
import { CorpusCache } from './corpusCache.ts'
import { Delivery } from './delivery.ts'
import { describeDevice } from './device.ts'
import { codeOf, isEngineFault, isPassing, messageOf } from './errors.ts'
import { Evaluating } from './evaluating.ts'
import { LocalReplica } from './localReplica.ts'
import { Bell, backoff, wait } from './patience.ts'
import { TabEngine } from './tabEngine.ts'
import { TabLock } from './tabLock.ts'
import { takeTurn } from './turn.ts'
import { Utilisation } from './utilisation.ts'
import type { SwarmControls, SwarmState, SwarmView } from './view.ts'

/** Why a turn ends early; the reason of its AbortSignal. */
type Interruption = 'stopped' | 'newer-round' | 'removed' | 'left-out' | 'lapsed'

/** Of a turn that ended before its contribution was made, unless a person wished so. */
const WHY: Partial<Record<Interruption, (round: number) => string>> = {
  'newer-round': (round) => `Round ${round} closed before this part was done.`,
  'left-out': (round) => `Round ${round} has to wait: the update before it was not used.`,
  lapsed: (round) => `The part of round ${round} was given back while this tab was away.`,
}

/** Looks again after this long, should a message have been lost. */
const LOOK_AGAIN_MS = 5_000
/** Keeps the messages of a tab that has nothing else to do far below LIMITS.volunteerMessages. */
const BETWEEN_SLICES_MS = 250

export function createSwarm(): { view: ReadonlySignal<SwarmView>; controls: SwarmControls } {
  const swarm = new Swarm()
  return { view: swarm.view, controls: swarm }
}

class Swarm implements SwarmControls {
  readonly #board = new Board((view) => this.#connection?.tell(view))
  readonly view: ReadonlySignal<SwarmView> = this.#board.view
  readonly #connection: Connection | null
  readonly #corpus = new CorpusCache()
  readonly #engine = new TabEngine({
    board: this.#board,
    holdsLease: () => this.#turn !== null,
    onFellBack: () => this.#ignore(this.#join()),
  })
  /** The volunteer's wish to contribute; aborted by stop. */
  #contribution: AbortController | null = null
  #turn: { lease: Lease; abort: AbortController } | null = null
  #replica: LocalReplica | null = null
  #utilisation = new Utilisation()
  readonly #mesh = new Mesh({
    mesh: async (on) => this.#connection?.mesh(on),
    signal: (...told) => this.#connection?.signal(...told),
    linked: (...told) => this.#connection?.linked(...told),
    offer: async (offer) => (await this.#connection?.offer(offer)) ?? { direct: 'no connection' },
    held: (...told) => this.#connection?.held(...told),
    quit: (...told) => this.#connection?.quit(...told),
    token: () => this.#connection?.token ?? '',
    changed: (mesh) => this.#board.patch({ mesh }),
    log: (text) => this.#board.log(text),
  })
  readonly #weights = new GlobalWeights({
    together: (hash, bytes, signal) => this.#mesh.fetch(hash, bytes, signal),
  })
  readonly #evaluating = new Evaluating(this.#weights)
  /** The contribution on its way; with overlap the next turn has begun meanwhile. */
  readonly #delivery = new Delivery({
    board: this.#board,
    mesh: this.#mesh,
    token: () => this.#connection?.token ?? '',
    isShown: (lease) => this.#mayShow && (this.#turn === null || this.#turn.lease === lease),
    onReceipt: (lease, receipt) => wantsAnother(receipt) && this.#goBack(lease),
    onOver: (fault) => {
      this.#count(null)
      this.#askAgain()
      if (fault !== null && this.#contribution?.signal === fault.signal)
        this.#failed(this.#contribution, fault.error)
    },
  })
  #paused = false
  /** Rung whenever something changed that may let the loop go on. */
  readonly #change = new Bell()
  readonly #asking = new Asking(async (run, after) =>
    this.#connection?.lease({ run: run.id, after, tokensPerSecond: this.#speed() }),
  )
  readonly #lock = new TabLock()

  constructor() {
    const obstacle = obstacleOf()
    this.#connection = obstacle ? null : this.#connect()
    this.#connection?.meet(this.#mesh)
    this.#board.patch({ mesh: this.#mesh.state })
    if (obstacle) this.#board.state(obstacle)
  }

  // The buttons.

  start(): void {
    if (this.#contribution !== null || this.#connection === null) return
    if (this.view.value.state.kind === 'removed') return
    const contribution = new AbortController()
    this.#contribution = contribution
    this.#paused = false
    this.#utilisation = new Utilisation()
    this.#board.beginVisit()
    this.#contribute(contribution.signal).catch((error: unknown) => this.#failed(contribution, error))
  }

  pause(): void {
    if (this.#contribution === null || this.#paused) return
    this.#paused = true
    this.#ignore(this.#engine.current?.pause())
    this.#utilisation.paused()
    if (this.#turn === null && this.#delivery.receipt === null) this.#leave()
    this.#board.state({ kind: 'paused', heldLease: this.#turn !== null })
    this.#change.ring()
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#utilisation.resumed()
    this.#ignore(this.#engine.current?.resume())
    this.#board.log('Resumed.')
    this.#ignore(this.#join())
    this.#askAgain()
  }

  finishRound(): void {
    if (this.#contribution === null) return
    this.#board.patch({ finishing: !this.view.value.finishing })
    if (this.#turn === null) this.#change.ring()
  }

  /** Resolves when nothing is on its way any more, and shows it meanwhile. */
  async #arrived(): Promise<void> {
    if (this.#mayShow) this.#delivery.show()
    await this.#delivery.receipt
  }

  /** What is on its way still counts. */
  async #finish(): Promise<void> {
    await this.#arrived()
    if (this.view.value.finishing) this.stop()
  }

  stop(): void {
    const contribution = this.#contribution
    if (contribution === null) return
    this.#contribution = null
    const lease = this.#turn?.lease.id
    contribution.abort('stopped' satisfies Interruption)
    this.#turn?.abort.abort('stopped' satisfies Interruption)
    if (lease !== undefined) this.#giveBack(lease)
    this.#leave()
    this.#end({ kind: 'stopped', ...this.#board.visit })
  }

  meet(on: boolean): void {
    this.#mesh.agree(on)
  }

  // The loop.

  async #contribute(signal: AbortSignal): Promise<void> {
    if (!(await this.#lock.take(signal))) {
      this.#contribution = null
      this.#end({ kind: 'other-tab' })
      return
    }
    for (let attempt = 0; ; ) {
      signal.throwIfAborted()
      if (this.view.value.finishing) return this.#finish()
      if (this.#paused || !this.#connection?.connected) {
        if (this.#paused && this.#joined && this.#delivery.receipt === null) this.#leave()
        await this.#change.heard(LOOK_AGAIN_MS, signal)
        continue
      }
      try {
        await this.#measure(signal, false)
        const reason = await this.#step(signal)
        attempt = 0
        if (reason === null) continue
        await this.#called(reason, signal)
      } catch (error) {
        if (signal.aborted || !isPassing(error)) throw error
        this.#board.log(`Trying again: ${messageOf(error)}`)
        await wait(backoff(attempt++), signal)
      }
    }
  }

  /** Resolves when it is worth asking for a lease again; measures meanwhile. */
  async #called(reason: WaitReason, signal: AbortSignal): Promise<void> {
    const { run } = this.view.value
    this.#asking.refused(reason, run)
    this.#showRefusal()
    const until = Date.now() + patienceOf(run)
    try {
      while (!this.#asking.isCalled && !this.#paused && !this.view.value.finishing) {
        const { rings } = this.#change
        await this.#measure(signal, true)
        const left = until - Date.now()
        if (left <= 0 || !this.#connection?.connected) break
        if (this.#change.rings === rings) await this.#change.heard(left, signal)
      }
    } finally {
      this.#asking.refused()
    }
  }

  #showRefusal(): void {
    const { state, run } = this.view.value
    const reason = this.#asking.reason(run)
    if (reason === null || !this.#mayShow) return
    if (this.#delivery.receipt !== null) this.#delivery.show()
    else if (state.kind !== 'waiting' || state.reason !== reason)
      this.#board.state({ kind: 'waiting', reason })
  }

  /** It is worth asking for a lease again. */
  #askAgain(): void {
    this.#asking.again()
    this.#change.ring()
  }

  /** Takes one turn, or answers why there is none now. */
  async #step(signal: AbortSignal): Promise<WaitReason | null> {
    const { run } = this.view.value
    this.#asking.looked()
    if (run === null) return 'no-run'
    if (run.weights === null) return run.status === 'failed' ? 'failed' : 'preparing'
    if (run.status === 'completed' || run.status === 'ended') return run.status
    const replica = await this.#replicaFor(run, signal)
    if (!this.#joined) await this.#join()
    const { after } = replica
    if (after === null) await this.#arrived() // for asking anew ends the lease that it is of (L2)
    const answer = await this.#asking.ask(run, after)
    if (answer === undefined || 'wait' in answer) return answer?.wait ?? 'no-run'
    if (replica.after === after) await this.#work({ lease: answer.lease, run, replica }, signal)
    else this.#giveBack(answer.lease.id) // what it was to follow was refused meanwhile
    return null
  }

  /**
   * Slices of the open evaluation: while waiting until something changes, otherwise for a small share of the time. What
   * goes wrong with it is no reason to stop training.
   */
  async #measure(signal: AbortSignal, waiting: boolean): Promise<void> {
    const { rings } = this.#change
    try {
      while (this.#change.rings === rings && (await this.#measureOne(signal, waiting))) {
        const { slices } = this.view.value.me
        this.#board.patchMe({ slices: slices + 1 })
        if (waiting) await wait(BETWEEN_SLICES_MS, signal)
      }
    } catch (error) {
      signal.throwIfAborted()
      if (isEngineFault(error)) await this.#engine.startOver(error, signal)
      else this.#board.log(`A measurement was not used: ${messageOf(error)}`)
    }
  }

  async #measureOne(signal: AbortSignal, waiting: boolean): Promise<boolean> {
    const { run } = this.view.value
    const engine = this.#engine.current
    const connection = this.#connection
    if (run === null || engine === null || !connection?.connected || !this.#joined || this.#paused)
      return false
    const model = modelOf(run.config)
    const { busySeconds: trained, idleSeconds: idle } = this.#utilisation
    const time = { trained, idle, tokensPerSecond: this.#speed() }
    return this.#evaluating.measureOne({ run, model, engine, connection, waiting, ...time, signal })
  }

  /** One replica an engine. */
  async #replicaFor(run: RunView, signal: AbortSignal): Promise<LocalReplica> {
    this.#mesh.expectBlobsOf(4 * run.parameters)
    const engine = await this.#engine.prepare(run, signal)
    if (this.#replica?.engine !== engine) {
      this.#replica = await LocalReplica.open(engine, run, this.#weights)
      void forgetReplicas(run.id)
    }
    signal.throwIfAborted()
    return this.#replica
  }

  /** Tokens a second in inner steps, as last measured. */
  #speed(): number {
    const { backend, me } = this.view.value
    return me.tokensPerSecond ?? backend?.tokensPerSecond ?? 0
  }

  /** Whether the coordinator knows, over this connection, that we are willing. */
  #joined = false
  async #join(): Promise<void> {
    const { backend } = this.view.value
    if (backend === null || this.#contribution === null || this.#paused) return
    const turn = this.#turn
    const joined = await this.#connection?.join({
      backend: backend.backend,
      tokensPerSecond: this.#speed(),
      device: describeDevice(navigator.userAgent),
    })
    this.#joined = true
    this.#mesh.announce()
    if (turn !== null && joined?.leases?.includes(turn.lease.id) === false)
      turn.abort.abort('lapsed' satisfies Interruption) // V11
  }

  /** Tells the coordinator not to count on us; what was leased goes back. */
  #leave(): void {
    this.#joined = false
    this.#asking.left()
    this.#mesh.leave('This tab stops.')
    this.#ignore(this.#connection?.leave())
  }

  #giveBack(lease: string): void {
    this.#ignore(this.#connection?.release(lease))
  }

  async #work(
    work: { lease: Lease; run: RunView; replica: LocalReplica },
    signal: AbortSignal,
  ): Promise<void> {
    const { lease, run, replica } = work
    const { round, steps } = lease
    const abort = new AbortController()
    this.#turn = { lease, abort }
    if (isOver(lease, this.view.value.run)) abort.abort('newer-round' satisfies Interruption)
    const either = AbortSignal.any([signal, abort.signal])
    try {
      const turn = await takeTurn({
        ...work,
        corpus: this.#corpus,
        utilisation: this.#utilisation,
        signal: either,
        opened: this.#opened(lease, either),
        onLoading: (doneBytes, totalBytes) => this.#progress({ kind: 'loading', doneBytes, totalBytes }),
        onTraining: ({ step, loss, tokensPerSecond }) => {
          this.#count(tokensPerSecond)
          const { deadlineAt } = this.view.value.run ?? lease
          this.#progress({ kind: 'training', round, step, steps, tokensPerSecond, loss, deadlineAt })
        },
        onWaiting: () => this.#showAhead(round),
        onTrained: () => {
          if (run.config.overlap && !this.#paused && !this.view.value.finishing)
            this.#asking.askAhead(run, lease.id)
        },
      })
      const receipt = this.#delivery.send(lease, turn, replica, signal)
      void blobStore.prune(
        new Set([this.#weights, this.#corpus, this.#evaluating].flatMap(({ hashes }) => hashes)),
      )
      if (!run.config.overlap) await receipt
    } catch (error) {
      await this.#interrupted(error, lease, abort.signal, signal)
    } finally {
      this.#turn = null
    }
  }

  /** Done before the lease's round begins; or the run stands still. */
  #showAhead(round: number): void {
    const { run } = this.view.value
    const still = run?.status === 'paused'
    this.#progress(still ? { kind: 'waiting', reason: 'paused' } : { kind: 'ahead', round })
  }

  /** The global weights of the lease's round, once that is open and what was sent before is settled. */
  async #opened(lease: Lease, signal: AbortSignal): Promise<readonly FragmentView[]> {
    await this.#delivery.receipt
    for (;;) {
      signal.throwIfAborted()
      const { run } = this.view.value
      const begun = run?.id === lease.run && run.era === lease.era && run.round === lease.round
      if (begun && run.weights !== null) return run.weights
      await this.#change.heard(LOOK_AGAIN_MS, signal)
    }
  }

  /** [V10] */
  #goBack({ id, round }: Lease): void {
    this.#giveBack(id)
    const turn = this.#turn
    if (turn === null || turn.lease.round !== round + 1 || this.view.value.run?.round !== round) return
    this.#giveBack(turn.lease.id)
    turn.abort.abort('left-out' satisfies Interruption)
  }

  /** Speed, utilisation and bytes, for the page and the operator. */
  #count(tokensPerSecond: number | null): void {
    this.#board.patchMe({
      ...(tokensPerSecond !== null && { tokensPerSecond }),
      utilisation: this.#utilisation.share,
      bytesUp: traffic.up,
      bytesDown: traffic.down,
    })
  }

  /** A turn that did not come to a receipt: a newer round and spoilt numbers are survived, the rest is not ours. */
  async #interrupted(
    error: unknown,
    lease: Lease,
    turn: AbortSignal,
    contribution: AbortSignal,
  ): Promise<void> {
    if (contribution.aborted) throw error
    this.#replica?.drop()
    if (turn.aborted) {
      const why = WHY[turn.reason as Interruption] // turns are aborted for no other reasons
      if (why) this.#board.log(why(lease.round))
      if (this.#paused) this.#leave()
      return
    }
    if (!isEngineFault(error)) throw error
    this.#giveBack(lease.id)
    await this.#engine.startOver(error, contribution)
  }

  // What the coordinator says.

  #connect(): Connection {
    return new Connection({
      welcome: (message) => this.#welcomed(message),
      run: (run) => this.#heard(run),
      news: (news) => {
        const { run } = this.view.value
        if (run !== null) this.#heard(withNews(run, news))
      },
      called: () => this.#askAgain(),
      lost: () => {
        this.#joined = false
        this.#asking.left()
        this.#mesh.leave('The connection was lost.')
        this.#board.patch({ connected: false })
        this.#board.log('The connection was lost.')
        if (this.#board.idle) this.#board.state({ kind: 'connecting', attempt: 0, retryAt: null })
      },
      refused: ({ code, message, final }) => this.#refused(code, message, final),
      removed: (reason) => this.#removed(reason),
    })
  }

  #attempt = 0
  #welcomed({ volunteer, run }: Welcome): void {
    this.#attempt = 0
    const { name, acceptedContributions, tokens } = volunteer
    this.#board.patch({ connected: true })
    this.#board.patchMe({ name, acceptedContributions, tokens })
    this.#board.log(`Connected as ${name}.`)
    if (this.#contribution === null && this.view.value.state.kind === 'connecting')
      this.#board.state({ kind: 'ready' })
    this.#heard(run)
    this.#ignore(this.#join())
    this.#askAgain()
    this.#connection?.tell(this.view.value)
  }

  #heard(run: RunView | null): void {
    const before = this.view.value.run
    this.#board.patch({ run, asOf: Date.now() })
    if (run !== null) this.#ignore(this.#evaluating.follow(run))
    const lease = this.#turn?.lease
    if (lease !== undefined && isOver(lease, run)) {
      this.#turn?.abort.abort('newer-round' satisfies Interruption)
    } else if (lease !== undefined && ['ahead', 'waiting'].includes(this.view.value.state.kind)) {
      this.#showAhead(lease.round)
    }
    this.#showRefusal()
    if (prospectsOf(run) !== prospectsOf(before)) this.#askAgain()
    else if (chancesOf(run) !== chancesOf(before)) this.#change.ring()
  }

  #refused(code: string, message: string, final: boolean): void {
    this.#attempt += 1
    this.#board.patch({ connected: false })
    if (code === 'volunteer-removed') this.#removed(message)
    else if (final) this.#end({ kind: 'failed', code, message })
    else if (this.#board.idle)
      this.#board.state({ kind: 'connecting', attempt: this.#attempt, retryAt: null })
  }

  #removed(reason: string): void {
    this.#contribution?.abort('removed' satisfies Interruption)
    this.#turn?.abort.abort('removed' satisfies Interruption)
    this.#contribution = null
    this.#end({ kind: 'removed', reason })
  }

  // The end.

  #failed(contribution: AbortController, error: unknown): void {
    if (contribution.signal.aborted) return
    this.#contribution = null
    this.#leave()
    this.#end({ kind: 'failed', code: codeOf(error), message: messageOf(error) })
  }

  #end(state: SwarmState): void {
    this.#engine.end()
    this.#lock.release()
    this.#board.patch({ contributing: false, finishing: false })
    this.#board.state(state)
  }

  /** Nothing that goes on by itself may paint over a pause or an end. */
  get #mayShow(): boolean {
    return !this.#paused && this.#contribution !== null
  }

  /** Progress must not paint over a pause. */
  #progress(state: SwarmState): void {
    if (!this.#paused && this.#turn !== null) this.#board.state(state)
  }

  /** For messages whose loss the next one makes good. */
  #ignore(promise: Promise<unknown> | undefined): void {
    promise?.catch((error: unknown) => this.#board.log(messageOf(error)))
  }
}
