/** Which fragment and which global steps a round has, and how many steps a lease should ask for. Pure arithmetic. */
import { innerLearningRate } from '../../shared/engine/schedule.ts'
import type { RunConfig } from '../../shared/protocol/run.ts'
import { UNKNOWN } from './leases.ts'
import type { Fragment, Machine, OpenLease, Pace } from './state.ts'

/** Inner steps of one round: H of them see every fragment brought together once. */
export const roundSteps = ({ innerSteps, fragments }: RunConfig): number => innerSteps / fragments
/** T: inner steps of the whole run. */
export const totalSteps = (config: RunConfig): number => config.rounds * roundSteps(config)
/** Global step of a round's first inner step. */
export const firstStep = (config: RunConfig, round: number): number => (round - 1) * roundSteps(config)

/** The fragments take turns. */
export const fragmentIndex = (config: RunConfig, round: number): number => (round - 1) % config.fragments
export const fragmentOf = ({ config, fragments }: Machine, round: number): Fragment =>
  fragments[fragmentIndex(config, round)] as Fragment // there are config.fragments of them

/** Sum of the inner learning rates of a round's first `steps` steps, whoever takes them. */
export function ratesOf(config: RunConfig, round: number, steps: number): number {
  const first = firstStep(config, round)
  let sum = 0
  for (let i = 0; i < steps; i++) {
    sum += innerLearningRate(first + i, totalSteps(config), config.innerLearningRate)
  }
  return sum
}

/** The most a lease asks for, in rounds' steps. */
export const MOST_ROUNDS = 4
/** Of the deadline: the rest is for bytes on their way. */
const SHARE_OF_DEADLINE = 0.85
/** Whoever comes late in a round still gets so much of one: less is not worth its bytes. */
const LEAST_SHARE = 0.25
/** Speeds closer than this to the middle one count as equal: measurements are no better. */
const SAME_SPEED = 0.1

export interface Sizing {
  readonly volunteer: string
  readonly round: number
  readonly now: number
}

/**
 * [L8] Steps with which this volunteer finishes about when the others do: the volunteer of median speed takes a
 * round's H / P. Who is done early, and goes on ahead, has until the end of the next round; who comes late has what is
 * left of this one.
 */
export function leaseSteps(machine: Machine, { volunteer, round, now }: Sizing): number {
  const { config } = machine
  const usual = roundSteps(config)
  if (config.strict) return usual
  const tokensAStep = config.batchSize * machine.sequenceLength
  const middle = machine.median.speed
  const own = speedOf(machine, volunteer) ?? middle
  if (own === null || middle === null || own <= 0 || middle <= 0) return usual
  const whole = Math.min((usual * tokensAStep) / middle, SHARE_OF_DEADLINE * config.deadlineSeconds)
  const left = secondsLeft(machine, { volunteer, round, now }, whole)
  const seconds = round > machine.round ? left + whole : Math.max(LEAST_SHARE * whole, Math.min(whole, left))
  const steps = (seconds * own) / tokensAStep
  const alike = Math.abs(steps / usual - 1) <= SAME_SPEED
  return alike ? usual : Math.min(MOST_ROUNDS * usual, Math.max(1, Math.floor(steps)))
}

/** Until the others have brought this round's leases, by their speeds; `whole` is how long a round should last. */
function secondsLeft(machine: Machine, { volunteer, now }: Sizing, whole: number): number {
  const { leases, round, openedAt, deadlineAt } = machine
  const last = leases.lastEnd(round, volunteer)
  const planned = openedAt === null ? whole : whole - (now - openedAt) / 1_000
  const untilDeadline = deadlineAt === null ? Number.POSITIVE_INFINITY : (deadlineAt - now) / 1_000
  return Math.max(0, Math.min(untilDeadline, last === UNKNOWN ? planned : (last - now) / 1_000))
}

/** When a lease will be done, by its volunteer's speed: Unix milliseconds, or UNKNOWN. */
export function expectedEnd(
  { config, sequenceLength, paces }: Pick<Machine, 'config' | 'sequenceLength' | 'paces'>,
  { volunteer, steps, issuedAt }: Pick<OpenLease, 'volunteer' | 'steps' | 'issuedAt'>,
): number {
  const speed = speedOf({ paces }, volunteer)
  return speed ? issuedAt + (1_000 * steps * config.batchSize * sequenceLength) / speed : UNKNOWN
}

/** Tokens a second, halved for every lease in a row that was not brought back in time. */
function speedOf({ paces }: Pick<Machine, 'paces'>, volunteer: string): number | null {
  const pace = paces.get(volunteer)
  return pace === undefined ? null : believed(pace)
}

const believed = ({ tokensPerSecond, missed }: Pace): number => tokensPerSecond / 2 ** Math.min(missed, 4)

/** Changes, as a share of those present, after which the median is taken anew. */
const STALE = 1 / 16

/**
 * Of the speeds of those present; of an even number, the faster of the two in the middle. Sorting all of them costs, so it is
 * done again only when more than a sixteenth has changed: always, with fewer than sixteen.
 */
export function freshMedian({ median, present, paces }: Machine): Machine['median'] {
  if (median.changes <= STALE * present.size) return median
  const speeds: number[] = []
  for (const volunteer of present.keys()) {
    const pace = paces.get(volunteer)
    if (pace) speeds.push(believed(pace))
  }
  speeds.sort((a, b) => a - b)
  return { speed: speeds[Math.floor(speeds.length / 2)] ?? null, changes: 0 }
}
