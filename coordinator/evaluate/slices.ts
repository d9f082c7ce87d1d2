/**
 * The machine of an evaluation that volunteers measure: reduce(state, event) → {state, effects}. Pure: no clock, no
 * socket, no ids of its own making. RULES.md has what it must do, by number; volunteers.ts feeds it.
 */
import type { ModelConfig } from '../../shared/model/config.ts'
import type { Slice } from '../../shared/protocol/evaluation.ts'
import { LIMITS } from '../../shared/protocol/limits.ts'
import { agree } from './agreement.ts'

/** What is to be measured. */
export interface Order {
  readonly run: string
  readonly round: number
  readonly weights: readonly string[]
  readonly config: ModelConfig
  /** Hash of the held-out set, and its sequences. */
  readonly set: string
  readonly sequences: number
}

interface Lease {
  readonly id: string
  readonly volunteer: string
  readonly expiresAt: number
}
interface Answer {
  readonly volunteer: string
  readonly nats: number
}
interface Part {
  readonly first: number
  readonly count: number
  readonly leases: readonly Lease[]
  readonly answers: readonly Answer[]
  /** Nats that two volunteers agree upon. */
  readonly settled: number | null
}

export interface Open {
  readonly order: Order
  readonly parts: readonly Part[]
  /** Who gets no more slices. */
  readonly barred: readonly string[]
  /** When something was last answered; at first, when it was opened. */
  readonly answeredAt: number
}

export interface Slices {
  readonly open: Open | null
  /** As they came; the last is the next. None while none is open. */
  readonly waiting: readonly Order[]
}

export const NO_SLICES: Slices = { open: null, waiting: [] }

export type SliceEvent =
  | { type: 'order'; order: Order; now: number }
  /** `id` names the lease if one is granted. */
  | { type: 'request'; volunteer: string; run: string; round: number; id: string; now: number }
  | {
      type: 'answer'
      volunteer: string
      id: string
      weights: readonly string[]
      nats: number
      tokens: number
      now: number
    }
  | { type: 'gone'; volunteer: string; now: number }
  | { type: 'tick'; now: number }
  /** Nothing of this is wanted any more. */
  | { type: 'withdraw'; now: number }

export type Refusal = 'not-leased' | 'other-weights' | 'other-tokens' | 'impossible'

export type SliceEffect =
  | { type: 'leased'; slice: Slice }
  | { type: 'none' }
  | { type: 'taken' }
  | { type: 'refused'; reason: Refusal }
  /** Two others agree, and this volunteer's answer is another. */
  | { type: 'odd'; volunteer: string; round: number; nats: number; agreed: number }
  | { type: 'complete'; order: Order; nats: number }
  | { type: 'superseded'; order: Order }
  | { type: 'failed'; order: Order; first: number; answers: readonly number[] }

export interface SliceReduction {
  readonly state: Slices
  readonly effects: SliceEffect[]
}

const { sliceSeconds, sliceTokens, answers: MOST_ANSWERS, waiting: MOST_WAITING } = LIMITS.evaluation
const SLICE_MS = sliceSeconds * 1_000
/** More than any model loses: ten times what guessing does. */
const mostNats = ({ vocabSize }: ModelConfig, tokens: number) => 10 * Math.log(vocabSize) * tokens

export function reduce(before: Slices, event: SliceEvent): SliceReduction {
  const effects: SliceEffect[] = []
  const state = apply(atTime(before, event.now), event, effects)
  return { state: advance(state, event.now, effects), effects }
}

/** When the machine next wants a `tick`; null when no time matters to it. */
export function nextWake({ open, waiting }: Slices): number | null {
  if (open === null) return null
  const times = open.parts.flatMap(({ leases }) => leases.map(({ expiresAt }) => expiresAt))
  if (waiting.length > 0) times.push(open.answeredAt + 2 * SLICE_MS)
  return times.length === 0 ? null : Math.min(...times)
}

/** Slices of about `sliceTokens` tokens, whole sequences each. */
export function cut({ sequences, config }: Pick<Order, 'sequences' | 'config'>): Part[] {
  const most = Math.max(1, Math.floor(sliceTokens / config.sequenceLength))
  return Array.from({ length: Math.ceil(sequences / most) }, (_, i) => ({
    first: i * most,
    count: Math.min(most, sequences - i * most),
    leases: [],
    answers: [],
    settled: null,
  }))
}

function apply(state: Slices, event: SliceEvent, effects: SliceEffect[]): Slices {
  switch (event.type) {
    case 'order':
      return order(state, event.order, event.now, effects)
    case 'request':
      return request(state, event, effects)
    case 'answer':
      return answer(state, event, effects)
    case 'gone':
      return withOpen(state, (open) => withoutLeases(open, ({ volunteer }) => volunteer === event.volunteer))
    case 'withdraw':
      for (const order of [...(state.open ? [state.open.order] : []), ...state.waiting])
        effects.push({ type: 'superseded', order })
      return NO_SLICES
    case 'tick':
      return state
    default:
      return event satisfies never
  }
}

function order(state: Slices, order: Order, now: number, effects: SliceEffect[]): Slices {
  const { open, waiting } = state
  if (open === null) return { open: opened(order, now), waiting }
  const next = isUntouched(open)
    ? { open: opened(order, now), waiting: [...waiting, open.order] }
    : { open, waiting: [...waiting, order] }
  const over = next.waiting.slice(0, Math.max(0, next.waiting.length - MOST_WAITING))
  for (const oldest of over) effects.push({ type: 'superseded', order: oldest })
  return { ...next, waiting: next.waiting.slice(over.length) }
}

/** Nobody has measured or is measuring anything of it. */
const isUntouched = ({ parts }: Open): boolean =>
  parts.every(({ leases, answers }) => leases.length === 0 && answers.length === 0)

const opened = (order: Order, now: number): Open => ({
  order,
  parts: cut(order),
  barred: [],
  answeredAt: now,
})

function request(
  state: Slices,
  { volunteer, run, round, id, now }: Extract<SliceEvent, { type: 'request' }>,
  effects: SliceEffect[],
): Slices {
  const { open } = state
  if (
    open === null ||
    open.order.run !== run ||
    open.order.round !== round ||
    open.barred.includes(volunteer)
  ) {
    effects.push({ type: 'none' })
    return state
  }
  const free = withoutLeases(open, (lease) => lease.volunteer === volunteer)
  const index = free.parts.findIndex((part) => wants(part, volunteer))
  const part = free.parts[index]
  if (part === undefined) {
    effects.push({ type: 'none' })
    return { ...state, open: free }
  }
  const { weights, set } = free.order
  const { first, count } = part
  effects.push({ type: 'leased', slice: { id, run, round, weights: [...weights], set, first, count } })
  const leases = [...part.leases, { id, volunteer, expiresAt: now + SLICE_MS }]
  return { ...state, open: withPart(free, index, { ...part, leases }) }
}

/** Whether another answer is wanted, and may be this volunteer's: two, and while no two agree one more than there are. */
function wants({ settled, answers, leases }: Part, volunteer: string): boolean {
  if (settled !== null || answers.some((given) => given.volunteer === volunteer)) return false
  return answers.length + leases.length < Math.max(2, answers.length + 1)
}

function answer(
  state: Slices,
  { volunteer, id, weights, nats, tokens, now }: Extract<SliceEvent, { type: 'answer' }>,
  effects: SliceEffect[],
): Slices {
  const { open } = state
  const isIt = (lease: Lease) => lease.id === id && lease.volunteer === volunteer
  const index = open?.parts.findIndex(({ leases }) => leases.some(isIt)) ?? -1
  const part = open?.parts[index]
  if (open === null || part === undefined) {
    effects.push({ type: 'refused', reason: 'not-leased' })
    return state
  }
  const ended = { ...part, leases: part.leases.filter((lease) => !isIt(lease)) }
  const fault = faultOf({ weights, nats, tokens }, part, open.order)
  if (fault !== null) {
    effects.push({ type: 'refused', reason: fault })
    return { ...state, open: barring(withPart(open, index, ended), [volunteer]) }
  }
  effects.push({ type: 'taken' })
  const answers = [...ended.answers, { volunteer, nats }]
  const answered = { ...withPart(open, index, { ...ended, answers }), answeredAt: now }
  return { ...state, open: settle(answered, index, effects) }
}

function faultOf(
  { weights, nats, tokens }: { weights: readonly string[]; nats: number; tokens: number },
  { count }: Part,
  { weights: wanted, config }: Order,
): Refusal | null {
  if (weights.length !== wanted.length || weights.some((hash, i) => hash !== wanted[i]))
    return 'other-weights'
  if (tokens !== count * config.sequenceLength) return 'other-tokens'
  return nats >= 0 && nats <= mostNats(config, tokens) ? null : 'impossible'
}

/** Settles the slice when two of its answers agree, and bars who answered otherwise. */
function settle(open: Open, index: number, effects: SliceEffect[]): Open {
  const part = open.parts[index] as Part // the caller's
  const { round, config } = open.order
  const pair = agreeing(part.answers, config)
  if (pair === null) return open
  const agreed = (pair[0].nats + pair[1].nats) / 2
  const odd = part.answers.filter(({ nats }) => !agree(nats, agreed, config))
  for (const { volunteer, nats } of odd) effects.push({ type: 'odd', volunteer, round, nats, agreed })
  const settled = withPart(open, index, { ...part, leases: [], settled: agreed })
  return barring(
    settled,
    odd.map(({ volunteer }) => volunteer),
  )
}

/** The first two answers that agree. */
function agreeing(answers: readonly Answer[], config: ModelConfig): [Answer, Answer] | null {
  for (const [i, later] of answers.entries()) {
    const earlier = answers.slice(0, i).find(({ nats }) => agree(nats, later.nats, config))
    if (earlier) return [earlier, later]
  }
  return null
}

/** What follows from where things stand: an end, and then the beginning of what waits. */
function advance(state: Slices, now: number, effects: SliceEffect[]): Slices {
  const { open, waiting } = state
  if (open === null) return state
  const end = endOf(open, waiting.length > 0 && now >= open.answeredAt + 2 * SLICE_MS)
  if (end === null) return state
  effects.push(end)
  const next = waiting.at(-1)
  return { open: next ? opened(next, now) : null, waiting: waiting.slice(0, -1) }
}

function endOf({ order, parts }: Open, givesWay: boolean): SliceEffect | null {
  const hopeless = parts.find(({ answers, settled }) => settled === null && answers.length >= MOST_ANSWERS)
  if (hopeless)
    return { type: 'failed', order, first: hopeless.first, answers: hopeless.answers.map(({ nats }) => nats) }
  if (parts.every(({ settled }) => settled !== null))
    return { type: 'complete', order, nats: parts.reduce((sum, { settled }) => sum + (settled ?? 0), 0) }
  return givesWay ? { type: 'superseded', order } : null
}

const withOpen = (state: Slices, change: (open: Open) => Open): Slices =>
  state.open === null ? state : { ...state, open: change(state.open) }

const withPart = (open: Open, index: number, part: Part): Open => ({
  ...open,
  parts: open.parts.with(index, part),
})

const withoutLeases = (open: Open, which: (lease: Lease) => boolean): Open => ({
  ...open,
  parts: open.parts.map((part) =>
    part.leases.some(which) ? { ...part, leases: part.leases.filter((lease) => !which(lease)) } : part,
  ),
})

const barring = (open: Open, volunteers: readonly string[]): Open => ({
  ...withoutLeases(open, ({ volunteer }) => volunteers.includes(volunteer)),
  barred: [...new Set([...open.barred, ...volunteers])],
})

/** Leases that are over have ended; and should the clock have been set back, nothing lies further off than it may. */
const atTime = (state: Slices, now: number): Slices =>
  withOpen(state, (open) => {
    const { parts, ...rest } = withoutLeases(open, ({ expiresAt }) => expiresAt <= now)
    const sooner = (lease: Lease) => ({ ...lease, expiresAt: Math.min(lease.expiresAt, now + SLICE_MS) })
    const timely = parts.map((part) => ({ ...part, leases: part.leases.map(sooner) }))
    return { ...rest, parts: timely, answeredAt: Math.min(rest.answeredAt, now) }
  })
