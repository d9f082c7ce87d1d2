/**
 * Feeds the round machine events one at a time and carries out its effects. Everything outside is a port: the
 * driver knows no database, no socket and no clock of its own. Order matters: a new state is committed before
 * anybody hears of it, so what was answered survives kill -9.
 */
import { isPending, pendingMerge } from './closing.ts'
import type { ClosedRound, Effect, Merge, MergedFragment, RoundEvent } from './events.ts'
import { changes } from './kept.ts'
import { nextWake, reduce } from './machine.ts'
import type { Machine } from './state.ts'

export interface Clock {
  /** Unix milliseconds. */
  now(): number
  /** Calls back at a time (at once when it has passed); the answer cancels. */
  at(time: number, callback: () => void): () => void
}

export interface RoundPorts {
  readonly clock: Clock
  /** One transaction: the state and the rows its effects stand for. Rejects when it could not be made durable. */
  commit(machine: Machine, effects: readonly Effect[], now: number): Promise<void>
  /** Stores the merged weights and velocity durably; the same merge always gives the same hashes. */
  merge(merge: Merge): Promise<MergedFragment>
  /** The state changed: tell whoever looks. */
  changed(): void
  roundClosed(closed: ClosedRound): void
  /** Something failed that no volunteer can mend; it will be tried again. */
  problem(code: string, message: string): void
}

const RETRY_MS = 10_000

export class RoundDriver {
  #machine: Machine
  #queue: Promise<unknown> = Promise.resolve()
  #wake: { readonly at: number; readonly cancel: () => void } | null = null
  #closed = false

  constructor(
    machine: Machine,
    private readonly ports: RoundPorts,
  ) {
    this.#machine = machine
  }

  get machine(): Machine {
    return this.#machine
  }

  /** After a restart: open leases wait for their volunteers, a merge that was cut off begins again. */
  async restart(): Promise<void> {
    await this.dispatch({ type: 'restarted', now: this.ports.clock.now() })
    const merge = pendingMerge(this.#machine)
    if (merge) this.#merge(merge)
  }

  /** Events run strictly one after another; resolves with the effects once they are durable. */
  dispatch(event: RoundEvent): Promise<Effect[]> {
    const turn = this.#queue.then(() => this.#handle(event))
    this.#queue = turn.catch(() => undefined)
    return turn
  }

  /** Waits for the event under way, then does nothing more. */
  async close(): Promise<void> {
    this.#closed = true
    this.#cancelWake()
    await this.#queue
  }

  async #handle(event: RoundEvent): Promise<Effect[]> {
    const { state, effects } = reduce(this.#machine, event)
    if (needsCommit(this.#machine, state, effects)) await this.ports.commit(state, effects, event.now)
    const changed = differ(state, this.#machine)
    this.#machine = state
    for (const effect of effects) {
      if (effect.type === 'merge') this.#merge(effect.merge)
      if (effect.type === 'round-closed') this.ports.roundClosed(effect.closed)
    }
    this.#setWake()
    if (changed) this.ports.changed()
    return effects
  }

  #setWake(at: number | null = nextWake(this.#machine)): void {
    if (at !== null && this.#wake?.at === at) return
    this.#cancelWake()
    if (at === null || this.#closed) return
    const cancel = this.ports.clock.at(at, () => {
      this.#wake = null
      this.dispatch({ type: 'tick', now: this.ports.clock.now() }).catch((error: unknown) => {
        this.ports.problem('internal', `A timer could not be handled: ${String(error)} Trying again.`)
        this.#setWake(this.ports.clock.now() + RETRY_MS)
      })
    })
    this.#wake = { at, cancel }
  }

  #cancelWake(): void {
    this.#wake?.cancel()
    this.#wake = null
  }

  #merge(merge: Merge): void {
    const { round, era } = merge
    const attempt = async () => {
      if (!isPending(this.#machine, merge)) return // the run was rolled back
      const merged = await this.ports.merge(merge)
      if (!this.#closed)
        await this.dispatch({ type: 'merged', round, era, merged, now: this.ports.clock.now() })
    }
    attempt().catch((error: unknown) => {
      if (this.#closed) return
      this.ports.problem('merge-failed', `Round ${round} could not be merged: ${String(error)} Trying again.`)
      this.ports.clock.at(this.ports.clock.now() + RETRY_MS, () => {
        if (!this.#closed) this.#merge(merge)
      })
    })
  }
}

/** What an event leaves alone is the same object before and after. */
const differ = (one: Machine, other: Machine): boolean =>
  Object.keys(one).some((key) => one[key as keyof Machine] !== other[key as keyof Machine]) // keys of a Machine

/** Who is present is not kept, so an event that changes nothing else needs no transaction. */
const needsCommit = (before: Machine, after: Machine, effects: readonly Effect[]): boolean =>
  effects.some((effect) => effect.type !== 'wait') || !changes(before, after).next().done
