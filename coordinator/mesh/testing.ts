/** For tests of groups and exchanges: a clock that the test moves by hand. */
import type { Clock } from '../rounds/driver.ts'

export class HandClock implements Clock {
  #now: number
  readonly #timers = new Set<{ time: number; callback: () => void }>()

  constructor(now = 1_700_000_000_000) {
    this.#now = now
  }

  now(): number {
    return this.#now
  }

  at(time: number, callback: () => void): () => void {
    const timer = { time, callback }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  /** Timers that wait. */
  get waiting(): number {
    return this.#timers.size
  }

  /** Milliseconds go by; what is due is called in its order, and what that began is done before the next. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms
    await settled()
    for (;;) {
      const [next] = [...this.#timers].filter(({ time }) => time <= end).sort((a, b) => a.time - b.time)
      if (next === undefined) break
      this.#timers.delete(next)
      this.#now = Math.max(this.#now, next.time)
      next.callback()
      await settled()
    }
    this.#now = end
  }
}

/** Everything that waits for promises alone has gone on. */
export const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
