/** One simulated volunteer: what it is, and what it is doing. World.ts moves it. */
import { DEVICES, DOWN_OVER_UP, type LogNormal, PRESENCE, UPLINKS } from './settings.ts'

export interface Turn {
  readonly lease: string
  readonly round: number
  readonly steps: number
  /** When its training begins or began, seconds. */
  readonly begins: number
  trained: boolean
}

export interface Tab {
  readonly id: string
  /** Tokens a second. */
  readonly speed: number
  /** Bytes a second. */
  readonly up: number
  readonly down: number
  /** Hours that its day is shifted by. */
  readonly shift: number
  present: boolean
  /** Raised when it goes: what was planned before is void. */
  life: number
  /** Since when it has been there, seconds; where it is not, what it had been there before is in `stayed`. */
  since: number
  stayed: number
  /** Round whose weights it holds; 0 for none. */
  holds: number
  /** Its last lease, if the replica can go on from it. */
  after: string | null
  turn: Turn | null
  /** On its way. */
  upload: { readonly lease: string; readonly steps: number } | null
  waits: boolean
  /** Which of all requests it was that was refused. */
  waitsSince: number
}

type Random = () => number

export function makeTab(index: number, random: Random, flopsPerToken: number): Tab {
  const up = logNormal(UPLINKS, random) / 8
  return {
    id: `tab-${100_000 + index}`,
    speed: logNormal(DEVICES, random) / flopsPerToken,
    up,
    down: DOWN_OVER_UP * up,
    shift: 24 * random(),
    present: false,
    life: 0,
    since: 0,
    stayed: 0,
    holds: 0,
    after: null,
    turn: null,
    upload: null,
    waits: false,
    waitsSince: 0,
  }
}

/** Box and Muller's transform. */
export function logNormal({ median, sigma }: LogNormal, random: Random): number {
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  return median * Math.exp(sigma * normal)
}

export const exponential = (mean: number, random: Random): number => -mean * Math.log(1 - random())

/** How likely it is to be there at a time in seconds. */
export function likelihood({ shift }: Tab, seconds: number): number {
  const hour = seconds / 3_600 + shift
  return PRESENCE.mean + PRESENCE.swing * Math.sin((2 * Math.PI * hour) / 24)
}

/** Seconds until a tab that is there goes. */
export const stay = (random: Random): number => exponential(3_600 * PRESENCE.sessionHours, random)

/** Seconds until a tab that is not there comes, so that it is there as often as is likely at this time. */
export function absence(tab: Tab, seconds: number, random: Random): number {
  const share = likelihood(tab, seconds)
  return exponential((3_600 * PRESENCE.sessionHours * (1 - share)) / share, random)
}
