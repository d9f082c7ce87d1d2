/**
 * One ticking clock for the page: once a second, every five seconds for people who asked for less motion, not at
 * all while the tab is hidden. Deadlines come on the coordinator's clock; `toLocal` moves them onto this one.
 */
import { signal } from '@preact/signals'

export const now = signal(Date.now())

/** This clock minus the coordinator's, milliseconds. */
const offset = signal(0)

/** Call with `RunView.now` when a view has just arrived. */
export function noteServerTime(serverNow: number): void {
  offset.value = Date.now() - serverNow
}

/** A time of the coordinator's on this device's clock. */
export function toLocal(at: number): number
export function toLocal(at: number | null): number | null
export function toLocal(at: number | null): number | null {
  return at === null ? null : at + offset.value
}

export function startClock(): void {
  const period = matchMedia('(prefers-reduced-motion: reduce)').matches ? 5_000 : 1_000
  const tick = () => {
    if (!document.hidden) now.value = Date.now()
  }
  setInterval(tick, period)
  document.addEventListener('visibilitychange', tick)
}
