/**
 * When this tab asks for a lease: when it needs one, ahead of that, and after a refusal when there is reason to: V9 of
 * RULES.md. Calls are counted, so that one that comes before its refusal is looked at is not lost.
 */
import type { LeaseAnswer } from '../../shared/protocol/messages.ts'
import type { RunView, WaitReason } from '../../shared/protocol/run.ts'
import { reasonToWait } from './chances.ts'

/** Undefined while there is no connection. */
type Answer = Promise<LeaseAnswer | undefined>

export class Asking {
  readonly #request: (run: RunView, after: string | null) => Answer
  /** Asked for before it was needed, and what it is to follow. */
  #ahead: { readonly after: string; readonly answer: Answer } | null = null
  /** How often there was reason to ask, and how often when it was asked last. */
  #reasons = 0
  #heard = 0
  #refusal: { readonly reason: WaitReason; readonly run: RunView | null } | null = null

  constructor(request: (run: RunView, after: string | null) => Answer) {
    this.#request = request
  }

  /** What was asked for ahead, if it follows this; else it asks now. */
  ask(run: RunView, after: string | null): Answer {
    const ahead = this.#ahead
    this.#ahead = null
    return ahead?.after === after ? ahead.answer : this.#now(run, after)
  }

  askAhead(run: RunView, after: string): void {
    const answer = this.#now(run, after)
    answer.catch(() => undefined) // whoever takes it hears of it
    this.#ahead = { after, answer }
  }

  /** This tab has left or its connection is lost: what was granted may end before it is taken. */
  left(): void {
    this.#ahead = null
  }

  /** There is reason to ask again. */
  again(): void {
    this.#reasons += 1
  }

  /** Looks at what there is, and finds that there is nothing to ask for. */
  looked(): void {
    if (this.#ahead === null) this.#heard = this.#reasons
  }

  /** Whether there was reason to ask since it was asked. */
  get isCalled(): boolean {
    return this.#reasons !== this.#heard
  }

  /** There is no lease, for this reason, while the run is so; undefined: that is over. */
  refused(reason?: WaitReason, run: RunView | null = null): void {
    this.#refusal = reason === undefined ? null : { reason, run }
  }

  /** Why it waits, as the run is now; null when it does not. */
  reason(run: RunView | null): WaitReason | null {
    return this.#refusal && reasonToWait(this.#refusal.reason, this.#refusal.run, run)
  }

  #now(run: RunView, after: string | null): Answer {
    this.#heard = this.#reasons
    return this.#request(run, after)
  }
}
