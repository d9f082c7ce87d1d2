/**
 * Who asked for a lease and was refused, in the order of asking, and whom to call when there is a place: L11 of RULES.md. If
 * all who wait asked again at every change, n volunteers would cost n² requests. Memory only: who connects again asks again.
 */
import type { Clock } from './driver.ts'
import { placesIn, refusalToLease } from './granting.ts'
import type { Machine } from './state.ts'

/** A place is kept for who was called for so long. */
export const CALL_MS = 5_000

export class Waiting {
  readonly #line = new Set<string>()
  /** They cannot have a place as long as it is `#term`. */
  readonly #later = new Set<string>()
  #term = ''
  /** Unix milliseconds at which they give their places up, in that order. */
  readonly #called = new Map<string, number>()

  /** It asked and got none. */
  refused(volunteer: string): void {
    this.forget(volunteer)
    this.#line.add(volunteer)
  }

  /** It got one, or does not wait any more. */
  forget(volunteer: string): void {
    for (const group of [this.#line, this.#later, this.#called]) group.delete(volunteer)
  }

  /** When the first who was called gives its place up; null while nobody is called. Unix milliseconds. */
  get until(): number | null {
    return this.#called.values().next().value ?? null
  }

  /** Those for whom there is a place that nobody has been called to yet. They are to ask now. */
  call(machine: Machine, now: number): string[] {
    for (const [volunteer, until] of this.#called) {
      if (until > now) break
      this.#called.delete(volunteer)
    }
    const { run, era, round, extensions, status, phase } = machine
    const term = JSON.stringify([run, era, round, extensions, status])
    if (term !== this.#term) {
      this.#term = term
      for (const volunteer of this.#later) this.#line.add(volunteer)
      this.#later.clear()
    }
    if (status !== 'running' || phase !== 'training') return []
    const called: string[] = []
    let places = placesIn(machine, round) - this.#called.size
    for (const volunteer of this.#line) {
      if (places <= 0) break
      this.#line.delete(volunteer)
      if (refusalToLease(machine, volunteer, round) !== null) {
        this.#later.add(volunteer)
        continue
      }
      this.#called.set(volunteer, now + CALL_MS)
      called.push(volunteer)
      places -= 1
    }
    return called
  }
}

/** Calls those who wait, and again when a place that was kept for somebody is given up. */
export class Caller {
  readonly #waiting = new Waiting()
  readonly #clock: Clock
  readonly #machine: () => Machine | null
  readonly #call: (volunteer: string) => void
  #wake: { readonly at: number; readonly cancel: () => void } | null = null
  #closed = false

  constructor(clock: Clock, machine: () => Machine | null, call: (volunteer: string) => void) {
    this.#clock = clock
    this.#machine = machine
    this.#call = call
  }

  refused(volunteer: string): void {
    this.#waiting.refused(volunteer)
    this.look()
  }

  forget(volunteer: string): void {
    this.#waiting.forget(volunteer)
    this.look()
  }

  /** The machine may have changed. */
  look(): void {
    const machine = this.#machine()
    if (machine === null || this.#closed) return
    for (const volunteer of this.#waiting.call(machine, this.#clock.now())) this.#call(volunteer)
    const { until } = this.#waiting
    if (until === (this.#wake?.at ?? null)) return
    this.#wake?.cancel()
    this.#wake = until === null ? null : { at: until, cancel: this.#clock.at(until, () => this.#again()) }
  }

  close(): void {
    this.#closed = true
    this.#wake?.cancel()
  }

  #again(): void {
    this.#wake = null
    this.look()
  }
}
