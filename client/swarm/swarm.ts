/**
 * The volunteer's side of the conversation: connect, lease, train, contribute, repeat, as the buttons allow. Holds
 * the one view that the page draws. A turn itself is turn.ts, the socket connection.ts, the engine client/worker.
 */
import { type ReadonlySignal, signal } from '@preact/signals'
import { EngineError } from '../../shared/engine/engine.ts'
import { PRESETS } from '../../shared/model/config.ts'
import type { VolunteerState, Welcome } from '../../shared/protocol/messages.ts'
import type { Lease, Receipt, RunView, WaitReason } from '../../shared/protocol/run.ts'
import { chooseBackend } from '../worker/chooseBackend.ts'
import { type RemoteEngine, startEngine } from '../worker/engineClient.ts'
import { Connection } from './connection.ts'
import { describeDevice } from './device.ts'
import { backoff, wait } from './patience.ts'
import { CorpusCache, takeTurn } from './turn.ts'
import type { SwarmControls, SwarmState, SwarmView } from './view.ts'

/** Why a turn ends early; the reason of its AbortSignal. */
type Interruption = 'stopped' | 'newer-round' | 'removed'

const RECEIPTS_SHOWN = 20
const LOG_LINES = 100
const ENGINE_RESTARTS = 3
/** Asks for a lease at least this often, should a message have been lost. */
const ASK_AGAIN_MS = 5_000

export function createSwarm(): { view: ReadonlySignal<SwarmView>; controls: SwarmControls } {
  const swarm = new Swarm()
  return { view: swarm.view, controls: swarm }
}

class Swarm implements SwarmControls {
  readonly view = signal<SwarmView>(firstView())
  readonly #connection: Connection | null
  readonly #corpus = new CorpusCache()
  #engine: RemoteEngine | null = null
  #engineKey = ''
  /** The volunteer's wish to contribute; aborted by stop. */
  #contribution: AbortController | null = null
  #turn: { lease: Lease; abort: AbortController } | null = null
  #paused = false
  /** Resolved whenever something changed that may let the loop go on. */
  #wake: () => void = () => undefined
  #releaseTabLock: () => void = () => undefined
  #visit = { contributions: 0, tokens: 0 }

  constructor() {
    const obstacle = obstacleOf()
    this.#connection = obstacle ? null : this.#connect()
    if (obstacle) this.#state(obstacle)
  }

  // The buttons.

  start(): void {
    if (this.#contribution !== null || this.#connection === null) return
    if (this.view.value.state.kind === 'removed') return
    const contribution = new AbortController()
    this.#contribution = contribution
    this.#paused = false
    this.#visit = { contributions: 0, tokens: 0 }
    this.#patch({ contributing: true, finishing: false })
    this.#contribute(contribution.signal).catch((error: unknown) => this.#failed(contribution, error))
  }

  pause(): void {
    if (this.#contribution === null || this.#paused) return
    this.#paused = true
    this.#ignore(this.#engine?.pause())
    if (this.#turn === null) this.#leave()
    this.#state({ kind: 'paused', heldLease: this.#turn !== null })
    this.#wake()
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#ignore(this.#engine?.resume())
    this.#log('Resumed.')
    this.#ignore(this.#join())
    this.#wake()
  }

  finishRound(): void {
    if (this.#contribution === null) return
    this.#patch({ finishing: !this.view.value.finishing })
    if (this.#turn === null) this.#wake()
  }

  stop(): void {
    const contribution = this.#contribution
    if (contribution === null) return
    this.#contribution = null
    const lease = this.#turn?.lease.id
    contribution.abort('stopped' satisfies Interruption)
    this.#turn?.abort.abort('stopped' satisfies Interruption)
    if (lease !== undefined) this.#ignore(this.#connection?.release(lease))
    this.#leave()
    this.#end({ kind: 'stopped', ...this.#visit })
  }

  // The loop.

  async #contribute(signal: AbortSignal): Promise<void> {
    if (!(await this.#holdTabLock(signal))) {
      this.#contribution = null
      this.#end({ kind: 'other-tab' })
      return
    }
    for (let attempt = 0; ; ) {
      signal.throwIfAborted()
      if (this.view.value.finishing) return this.stop()
      if (this.#paused || !this.#connection?.connected) {
        await this.#woken(signal)
        continue
      }
      try {
        const reason = await this.#step(signal)
        attempt = 0
        if (reason !== null) await this.#waitFor(reason, signal)
      } catch (error) {
        if (signal.aborted || !isPassing(error)) throw error
        this.#log(`Trying again: ${messageOf(error)}`)
        await wait(backoff(attempt++), signal)
      }
    }
  }

  /** Takes one turn, or answers why there is none now. */
  async #step(signal: AbortSignal): Promise<WaitReason | null> {
    const { run } = this.view.value
    if (run === null) return 'no-run'
    if (run.weights === null) return run.status === 'failed' ? 'failed' : 'preparing'
    if (run.status === 'completed' || run.status === 'ended') return run.status
    await this.#prepareEngine(run, signal)
    if (!this.#joined) await this.#join()
    const answer = await this.#connection?.lease(run.id, run.round)
    if (answer === undefined || 'wait' in answer) return answer?.wait ?? 'no-run'
    await this.#work(answer.lease, run, signal)
    return null
  }

  async #prepareEngine(run: RunView, signal: AbortSignal): Promise<void> {
    const config = PRESETS[run.config.preset]
    const key = `${run.id}/${run.config.preset}`
    if (this.#engine !== null && this.#engineKey === key) return
    this.#engine?.terminate()
    this.#engine = null
    this.#state({ kind: 'testing', backend: null })
    const backend = await chooseBackend(config, { batchSize: run.config.batchSize })
    signal.throwIfAborted()
    this.#patch({ backend })
    const engine = await startEngine(backend.backend, config)
    if (signal.aborted) engine.terminate()
    signal.throwIfAborted()
    this.#engine = engine
    this.#engineKey = key
  }

  /** Whether the coordinator knows, over this connection, that we are willing. */
  #joined = false
  async #join(): Promise<void> {
    const { backend, me } = this.view.value
    if (backend === null || this.#contribution === null || this.#paused) return
    const tokensPerSecond = me.tokensPerSecond ?? backend.tokensPerSecond
    await this.#connection?.join({
      backend: backend.backend,
      tokensPerSecond,
      device: describeDevice(navigator.userAgent),
    })
    this.#joined = true
  }

  /** Tells the coordinator not to count on us; what was leased goes back. */
  #leave(): void {
    this.#joined = false
    this.#ignore(this.#connection?.leave())
  }

  async #work(lease: Lease, run: RunView, signal: AbortSignal): Promise<void> {
    const { round, steps } = lease
    const abort = new AbortController()
    this.#turn = { lease, abort }
    const engine = this.#engine
    if (engine === null) return
    try {
      const turn = await takeTurn(
        {
          lease,
          run,
          engine,
          token: this.#connection?.token ?? '',
          signal: AbortSignal.any([signal, abort.signal]),
          onLoading: (doneBytes, totalBytes) => this.#progress({ kind: 'loading', doneBytes, totalBytes }),
          onTraining: ({ step, loss, tokensPerSecond }) => {
            this.#patchMe({ tokensPerSecond })
            const { deadlineAt } = this.view.value.run ?? lease
            this.#progress({ kind: 'training', round, step, steps, tokensPerSecond, loss, deadlineAt })
          },
          onSending: (doneBytes, totalBytes) =>
            this.#progress({ kind: 'sending', round, doneBytes, totalBytes }),
          onSent: () => this.#progress({ kind: 'checking', round }),
        },
        this.#corpus,
      )
      if (turn) this.#settle(turn.receipt, turn.trained.steps)
    } catch (error) {
      await this.#interrupted(error, lease, abort.signal, signal)
    } finally {
      this.#turn = null
    }
  }

  #settle(receipt: Receipt, steps: number): void {
    const { me, receipts } = this.view.value
    const accepted = receipt.result === 'accepted' && !receipt.repeated
    const tokens = accepted ? receipt.tokens : 0
    this.#visit.contributions += accepted ? 1 : 0
    this.#visit.tokens += tokens
    this.#patchMe({
      acceptedContributions: me.acceptedContributions + (accepted ? 1 : 0),
      tokens: me.tokens + tokens,
      steps: me.steps + steps,
    })
    this.#patch({ receipts: [{ ...receipt, at: Date.now() }, ...receipts].slice(0, RECEIPTS_SHOWN) })
    this.#log(receipt.message)
  }

  /** A turn that did not come to a receipt: a newer round and a lost engine are survived, the rest is not ours. */
  async #interrupted(
    error: unknown,
    lease: Lease,
    turn: AbortSignal,
    contribution: AbortSignal,
  ): Promise<void> {
    if (contribution.aborted) throw error
    if (turn.aborted) {
      this.#log(`Round ${lease.round} closed before this part was done.`)
      if (this.#paused) this.#leave()
      return
    }
    if (!isEngineError(error)) throw error
    this.#ignore(this.#connection?.release(lease.id))
    await this.#restartEngine(error, contribution)
  }

  #restarts = 0
  async #restartEngine(error: Error, signal: AbortSignal): Promise<void> {
    this.#restarts += 1
    this.#engine?.terminate()
    this.#engine = null
    this.#log(`The engine stopped: ${error.message}`)
    if (this.#restarts > ENGINE_RESTARTS) throw error
    this.#state({ kind: 'engine-lost', restarts: this.#restarts })
    await wait(backoff(this.#restarts), signal)
  }

  async #waitFor(reason: WaitReason, signal: AbortSignal): Promise<void> {
    if (!this.#paused) this.#state({ kind: 'waiting', reason })
    await this.#woken(signal)
  }

  /** Until something changed, or the time to ask again has come. */
  async #woken(signal: AbortSignal): Promise<void> {
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve
    })
    await Promise.race([woken, wait(ASK_AGAIN_MS, signal)])
  }

  // What the coordinator says.

  #connect(): Connection {
    return new Connection({
      welcome: (message) => this.#welcomed(message),
      run: (run) => this.#heard(run),
      lost: () => {
        this.#joined = false
        this.#patch({ connected: false })
        this.#log('The connection was lost.')
        if (this.#idle()) this.#state({ kind: 'connecting', attempt: 0, retryAt: null })
      },
      refused: ({ code, message, final }) => this.#refused(code, message, final),
      removed: (reason) => this.#removed(reason),
    })
  }

  #attempt = 0
  #welcomed({ volunteer, run }: Welcome): void {
    this.#attempt = 0
    const { name, acceptedContributions, tokens } = volunteer
    this.#patch({ connected: true })
    this.#patchMe({ name, acceptedContributions, tokens })
    this.#log(`Connected as ${name}.`)
    if (this.#contribution === null && this.view.value.state.kind === 'connecting')
      this.#state({ kind: 'ready' })
    this.#heard(run)
    this.#ignore(this.#join())
    this.#wake()
    this.#tell(this.view.value.state)
  }

  #heard(run: RunView | null): void {
    const before = this.view.value.run
    this.#patch({ run, asOf: Date.now() })
    const stale = this.#turn && (run?.id !== this.#turn.lease.run || run.round !== this.#turn.lease.round)
    if (stale) this.#turn?.abort.abort('newer-round' satisfies Interruption)
    if (chancesOf(run) !== chancesOf(before)) this.#wake()
  }

  #refused(code: string, message: string, final: boolean): void {
    this.#attempt += 1
    this.#patch({ connected: false })
    if (code === 'volunteer-removed') this.#removed(message)
    else if (final) this.#end({ kind: 'failed', code, message })
    else if (this.#idle()) this.#state({ kind: 'connecting', attempt: this.#attempt, retryAt: null })
  }

  #removed(reason: string): void {
    this.#contribution?.abort('removed' satisfies Interruption)
    this.#turn?.abort.abort('removed' satisfies Interruption)
    this.#contribution = null
    this.#end({ kind: 'removed', reason })
  }

  // The view.

  /** Neither training nor sending: then the state may tell of the connection. */
  #idle(): boolean {
    const { kind } = this.view.value.state
    return ![
      'training',
      'sending',
      'checking',
      'paused',
      'stopped',
      'removed',
      'failed',
      'other-tab',
    ].includes(kind)
  }

  #failed(contribution: AbortController, error: unknown): void {
    if (contribution.signal.aborted) return
    this.#contribution = null
    this.#leave()
    this.#end({ kind: 'failed', code: codeOf(error), message: messageOf(error) })
  }

  #end(state: SwarmState): void {
    this.#engine?.terminate()
    this.#engine = null
    this.#releaseTabLock()
    this.#patch({ contributing: false, finishing: false })
    this.#state(state)
  }

  /** Progress must not paint over a pause. */
  #progress(state: SwarmState): void {
    if (!this.#paused && this.#turn !== null) this.#state(state)
  }

  #state(state: SwarmState): void {
    const before = this.view.value.state
    this.#patch({ state })
    this.#tell(state)
    if (before.kind !== state.kind) this.#log(logLine(state))
  }

  #tell(state: SwarmState): void {
    const training =
      state.kind === 'training' ? { step: state.step, tokensPerSecond: state.tokensPerSecond } : {}
    this.#connection?.state({ state: volunteerState(state), ...training })
  }

  #patch(change: Partial<SwarmView>): void {
    this.view.value = { ...this.view.value, ...change }
  }

  #patchMe(change: Partial<SwarmView['me']>): void {
    this.#patch({ me: { ...this.view.value.me, ...change } })
  }

  #log(text: string): void {
    this.#patch({ log: [{ at: Date.now(), text }, ...this.view.value.log].slice(0, LOG_LINES) })
  }

  /** For messages whose loss the next one makes good. */
  #ignore(promise: Promise<unknown> | undefined): void {
    promise?.catch((error: unknown) => this.#log(messageOf(error)))
  }

  /** One contributing tab a browser. Resolves false when another has it. */
  #holdTabLock(signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const held = new Promise<void>((release) => {
        this.#releaseTabLock = release
      })
      navigator.locks
        .request('potluck.contributing', { ifAvailable: true }, async (lock) => {
          resolve(lock !== null)
          if (lock !== null && !signal.aborted) await held
        })
        .catch(reject)
    })
  }
}

/** What a refused request for a lease may hang on: only when it changes is it worth asking again. */
const chancesOf = (run: RunView | null): string =>
  JSON.stringify(run && [run.id, run.status, run.phase, run.round, run.present, run.leased, run.accepted])

function firstView(): SwarmView {
  return {
    state: { kind: 'ready' },
    contributing: false,
    finishing: false,
    connected: false,
    asOf: null,
    run: null,
    backend: null,
    me: { name: null, acceptedContributions: 0, tokens: 0, steps: 0, tokensPerSecond: null },
    receipts: [],
    log: [],
  }
}

/** What keeps this page from contributing at all. */
function obstacleOf(): SwarmState | null {
  if (!window.isSecureContext) return { kind: 'insecure', url: `https://${location.host}/` }
  if (typeof WebAssembly === 'undefined') return { kind: 'unsupported', missing: 'WebAssembly' }
  if (navigator.locks === undefined) return { kind: 'unsupported', missing: 'Web Locks' }
  return null
}

function volunteerState({ kind }: SwarmState): VolunteerState {
  switch (kind) {
    case 'training':
    case 'sending':
    case 'paused':
    case 'stopped':
    case 'waiting':
      return kind
    case 'checking':
      return 'sending'
    case 'testing':
    case 'loading':
    case 'engine-lost':
      return 'preparing'
    default:
      return 'watching'
  }
}

const isEngineError = (error: unknown): error is Error =>
  error instanceof EngineError || (error instanceof Error && codeOf(error).startsWith('engine/'))

/** Errors that time or the next round mends. */
function isPassing(error: unknown): boolean {
  const code = codeOf(error)
  return (
    ['not-found', 'rate-limited', 'internal', 'run-state'].includes(code) ||
    /timed? ?out/i.test(messageOf(error))
  )
}

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'unexpected'

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

function logLine(state: SwarmState): string {
  switch (state.kind) {
    case 'waiting':
      return `Waiting: ${state.reason}.`
    case 'training':
      return `Training in round ${state.round}.`
    case 'failed':
      return `Failed: ${state.message} (${state.code})`
    default:
      return `${state.kind[0]?.toUpperCase()}${state.kind.slice(1)}.`
  }
}
