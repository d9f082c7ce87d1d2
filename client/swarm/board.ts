/** The view as it changes: state, log, receipts, totals. It only writes the signal that the page draws; swarm.ts decides. */
import { signal } from '@preact/signals'
import type { Receipt } from '../../shared/protocol/run.ts'
import type { SwarmState, SwarmView } from './view.ts'

const RECEIPTS_SHOWN = 20
const LOG_LINES = 100

/** States that a lost connection must not paint over. */
const BUSY: readonly SwarmState['kind'][] = [
  'training',
  'ahead',
  'sending',
  'checking',
  'paused',
  'stopped',
  'removed',
  'failed',
  'other-tab',
]

export class Board {
  readonly view = signal<SwarmView>(firstView())
  readonly #onState: (view: SwarmView) => void
  #visit = { contributions: 0, tokens: 0 }

  /** `onState` hears each state as it is shown. */
  constructor(onState: (view: SwarmView) => void) {
    this.#onState = onState
  }

  /** Neither training nor sending: then the state may tell of the connection. */
  get idle(): boolean {
    return !BUSY.includes(this.view.value.state.kind)
  }

  /** What was accepted since `beginVisit`. */
  get visit(): { readonly contributions: number; readonly tokens: number } {
    return this.#visit
  }

  beginVisit(): void {
    this.#visit = { contributions: 0, tokens: 0 }
    this.patch({ contributing: true, finishing: false })
  }

  state(state: SwarmState): void {
    const before = this.view.value.state
    this.patch({ state })
    this.#onState(this.view.value)
    const line = before.kind === state.kind ? null : logLine(state)
    if (line !== null) this.log(line)
  }

  patch(change: Partial<SwarmView>): void {
    this.view.value = { ...this.view.value, ...change }
  }

  patchMe(change: Partial<SwarmView['me']>): void {
    this.patch({ me: { ...this.view.value.me, ...change } })
  }

  log(text: string): void {
    this.patch({ log: [{ at: Date.now(), text }, ...this.view.value.log].slice(0, LOG_LINES) })
  }

  /** The end of a turn of so many steps. */
  settle(receipt: Receipt, steps: number): void {
    const { me, receipts } = this.view.value
    const accepted = receipt.result === 'accepted' && !receipt.repeated
    const contributions = accepted ? 1 : 0
    const tokens = accepted ? receipt.tokens : 0
    this.#visit.contributions += contributions
    this.#visit.tokens += tokens
    this.patchMe({
      acceptedContributions: me.acceptedContributions + contributions,
      tokens: me.tokens + tokens,
      steps: me.steps + steps,
    })
    this.patch({ receipts: [{ ...receipt, at: Date.now() }, ...receipts].slice(0, RECEIPTS_SHOWN) })
    this.log(receipt.message)
  }
}

function firstView(): SwarmView {
  const nothing = { tokensPerSecond: null, utilisation: null, slices: 0, bytesUp: 0, bytesDown: 0 }
  return {
    state: { kind: 'ready' },
    contributing: false,
    finishing: false,
    connected: false,
    asOf: null,
    run: null,
    backend: null,
    me: { name: null, acceptedContributions: 0, tokens: 0, steps: 0, ...nothing },
    compiling: null,
    mesh: { agreed: false, group: null, exchanged: 0, sent: 0, received: 0 },
    upload: null,
    receipts: [],
    log: [],
  }
}

/** Null where the cause, logged already, says it all. */
function logLine(state: SwarmState): string | null {
  switch (state.kind) {
    case 'engine-lost':
      return null
    case 'waiting':
      return `Waiting: ${state.reason}.`
    case 'ahead':
      return `Done ahead of round ${state.round}.`
    case 'training':
      return `Training in round ${state.round}.`
    case 'failed':
      return `Failed: ${state.message} (${state.code})`
    default:
      return `${state.kind[0]?.toUpperCase()}${state.kind.slice(1)}.`
  }
}
