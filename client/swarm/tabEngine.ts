/**
 * The one engine of this tab: chosen for the run, started, and its losses and fallbacks told on the board. How it
 * survives is client/worker/steadyEngine.ts's; what a turn does with it is turn.ts's.
 */
import type { CompileProgress } from '../../shared/engine/compiled/executor.ts'
import { BACKENDS, type Backend, type EngineError } from '../../shared/engine/engine.ts'
import { modelOf } from '../../shared/protocol/modelOf.ts'
import type { RunView } from '../../shared/protocol/run.ts'
import { chooseBackend } from '../worker/chooseBackend.ts'
import {
  type Candidate,
  LOSSES_BEFORE_NEXT,
  type SteadyEngine,
  type SteadyEvent,
  startSteadyEngine,
} from '../worker/steadyEngine.ts'
import type { Board } from './board.ts'
import { backoff, wait } from './patience.ts'
import type { BackendChoice, SwarmState } from './view.ts'

const FRESH_STARTS = 3
const UNCONCERNED: readonly SwarmState['kind'][] = ['paused', 'loading', 'sending', 'checking']

export interface TabEngineParts {
  readonly board: Board
  /** Whether a lost engine costs a lease's time. */
  readonly holdsLease: () => boolean
  /** The board's backend is another one now. */
  readonly onFellBack: () => void
}

/** The chosen backend, then the others by measured speed; wasm, which runs everywhere, at the latest at the end. */
export function candidatesOf({ backend, microBatch, measurements }: BackendChoice): Candidate[] {
  const speed = (one: Backend) => measurements.find((m) => m.backend === one)?.tokensPerSecond ?? null
  const measured = BACKENDS.filter((one) => speed(one) !== null)
  measured.sort((a, b) => (speed(b) ?? 0) - (speed(a) ?? 0))
  const order = [...new Set<Backend>([backend, ...measured, 'wasm'])]
  const needed = (one: Backend) => measurements.find((m) => m.backend === one)?.microBatch ?? 1
  return order.map((one) => ({ backend: one, microBatch: one === backend ? microBatch : needed(one) }))
}

export class TabEngine {
  readonly #parts: TabEngineParts
  #engine: SteadyEngine | null = null
  #key = ''
  /** Why the engine is no more, until it is let go. */
  #ended: EngineError | null = null
  #freshStarts = 0
  /** What `engine-lost` stands in front of. */
  #before: SwarmState | null = null

  constructor(parts: TabEngineParts) {
    this.#parts = parts
  }

  /** Null before `prepare` and after `end`. */
  get current(): SteadyEngine | null {
    return this.#engine
  }

  /**
   * The engine for this run, started if it is not there yet. Aborting ends it.
   * @throws EngineError when there is none, or no longer one.
   */
  async prepare(run: RunView, signal: AbortSignal): Promise<SteadyEngine> {
    const key = `${run.id}/${run.config.preset}`
    if (this.#engine !== null && this.#key === key) {
      if (this.#ended !== null) throw this.#ended
      return this.#engine
    }
    this.end()
    const { board } = this.#parts
    const config = modelOf(run.config)
    board.state({ kind: 'testing', backend: null })
    const choice = await chooseBackend(config, {
      batchSize: run.config.batchSize,
      signal,
      onTesting: (backend) => board.state({ kind: 'testing', backend }),
      news: { compiling: (progress) => this.#showCompiling(progress) },
    })
    signal.throwIfAborted()
    board.patch({ backend: choice })
    const engine = await startSteadyEngine({
      candidates: candidatesOf(choice),
      config,
      signal,
      onEvent: (event) => this.#happened(event),
      onCompiling: (progress) => this.#showCompiling(progress),
    })
    this.#engine = engine
    this.#key = key
    void engine.ended.then((reason) => {
      if (this.#engine === engine) this.#ended = reason
    })
    return engine
  }

  end(): void {
    this.#parts.board.patch({ compiling: null })
    this.#engine?.terminate()
    this.#engine = null
    this.#ended = null
  }

  /**
   * Lets a spoilt engine go, moments and all; the next `prepare` starts a fresh one.
   * @throws `error` after too many
   */
  async startOver(error: Error, signal: AbortSignal): Promise<void> {
    const { board } = this.#parts
    this.#freshStarts += 1
    const backend = this.#engine?.backend ?? 'wasm'
    this.end()
    board.log(`The engine stopped: ${error.message}`)
    if (this.#freshStarts > FRESH_STARTS) throw error
    board.state({
      kind: 'engine-lost',
      backend,
      next: backend,
      restarts: this.#freshStarts,
      heldLease: false,
    })
    await wait(backoff(this.#freshStarts), signal)
  }

  #happened(event: SteadyEvent): void {
    const { board } = this.#parts
    switch (event.kind) {
      case 'lost':
        board.log(event.reason)
        this.#showLoss(event.backend, event.backend, event.attempt)
        break
      case 'fell-back':
        board.log(`Falling back from ${event.from} to ${event.to}: ${event.reason}`)
        this.#fellBack(event.from, event.to)
        this.#showLoss(event.from, event.to, LOSSES_BEFORE_NEXT)
        break
      case 'refused':
        board.log(event.reason)
        this.#showRefusal(event.reason)
        break
      case 'restarted': {
        const from = event.step === null ? '' : ` from step ${event.step}`
        board.log(`Starting again${from} on ${event.backend}.`)
        this.#showRestart(event.step)
        break
      }
      default:
        event satisfies never
    }
  }

  /** What goes on without the engine stays in sight; the log has the loss. */
  #showLoss(backend: Backend, next: Backend, restarts: number): void {
    const { board, holdsLease } = this.#parts
    const { state } = board.view.value
    if (UNCONCERNED.includes(state.kind)) return
    if (state.kind !== 'engine-lost') this.#before = state
    board.state({ kind: 'engine-lost', backend, next, restarts, heldLease: holdsLease() })
  }

  #showCompiling({ done, of }: CompileProgress): void {
    this.#parts.board.patch({ compiling: done < of ? { done, of } : null })
  }

  #showRefusal(refused: string): void {
    const { board } = this.#parts
    const { backend } = board.view.value
    if (backend !== null) board.patch({ backend: { ...backend, refused } })
  }

  #showRestart(step: number | null): void {
    const { board } = this.#parts
    const { state, me, backend } = board.view.value
    const before = this.#before
    if (state.kind !== 'engine-lost' || before === null) return
    const tokensPerSecond = me.tokensPerSecond ?? backend?.tokensPerSecond ?? 0
    const training = before.kind === 'training'
    board.state(training ? { ...before, step: step ?? before.step, tokensPerSecond } : before)
  }

  #fellBack(from: Backend, to: Backend): void {
    const { board, onFellBack } = this.#parts
    const { backend } = board.view.value
    if (backend === null) return
    const { tokensPerSecond, ...needs } = backend.measurements.find((m) => m.backend === to) ?? backend
    board.patch({
      backend: { ...backend, ...needs, tokensPerSecond: tokensPerSecond ?? 0, fellBackFrom: from },
    })
    board.patchMe({ tokensPerSecond: null })
    onFellBack()
  }
}
