/**
 * The page's one live region, fed at state changes only: at most one message in ten seconds, the latest wins.
 * Ticking numbers never go through it.
 */
import { signal } from '@preact/signals'

export const ANNOUNCE_EVERY_MS = 10_000

export interface Timers {
  now(): number
  later(run: () => void, milliseconds: number): void
}

const browserTimers: Timers = {
  now: () => Date.now(),
  later: (run, milliseconds) => {
    setTimeout(run, milliseconds)
  },
}

export interface Announcer {
  /** What the live region holds. */
  readonly text: { readonly value: string }
  announce(text: string): void
  /** Speaks at once, for a person who asked. */
  answer(text: string): void
}

export function createAnnouncer(timers: Timers = browserTimers): Announcer {
  const text = signal('')
  let last = Number.NEGATIVE_INFINITY
  let pending: string | null = null

  const speak = (message: string) => {
    last = timers.now()
    pending = null
    text.value = message
  }
  return {
    text,
    answer: speak,
    announce(message) {
      const wait = last + ANNOUNCE_EVERY_MS - timers.now()
      if (wait <= 0) return speak(message)
      const waiting = pending !== null
      pending = message
      if (!waiting) {
        timers.later(() => {
          if (pending !== null) speak(pending)
        }, wait)
      }
    },
  }
}
