/**
 * The evaluation that volunteers measure, alive: feeds the slice machine (slices.ts) with what tabs ask and answer and
 * with time, and tells whoever ordered an evaluation what came of it. Nothing of it is kept: a restart begins again.
 */
import { PotluckError } from '../../shared/protocol/errors.ts'
import type {
  OpenEvaluation,
  SliceAnswer,
  SliceGrant,
  SliceRequest,
} from '../../shared/protocol/evaluation.ts'
import { newId } from '../accounts/secrets.ts'
import type { Clock } from '../rounds/driver.ts'
import {
  NO_SLICES,
  nextWake,
  type Order,
  type Refusal,
  reduce,
  type SliceEffect,
  type SliceEvent,
  type Slices,
} from './slices.ts'

export interface SlicePorts {
  readonly clock: Clock
  /** What may be shown is another. */
  changed(): void
  /** Somebody's answer was used, refused, or found to disagree with two others. */
  answered(result: 'taken' | 'refused' | 'odd'): void
  problem(code: string, message: string): void
}

interface Waiter {
  readonly resolve: (result: { readonly nats: number } | null) => void
  readonly reject: (error: PotluckError) => void
}

const REFUSALS: Record<Refusal, PotluckError> = {
  'not-leased': new PotluckError('slice-over', 'This slice is no longer yours: it was leased again.', 409),
  'other-weights': new PotluckError('bad-request', 'These are not the weights that the slice is of.'),
  'other-tokens': new PotluckError('bad-request', 'The slice has another number of tokens.'),
  impossible: new PotluckError('bad-request', 'No model can lose that much.'),
}

export class VolunteerEvaluator {
  readonly #ports: SlicePorts
  readonly #waiters = new Map<Order, Waiter>()
  #state: Slices = NO_SLICES
  #cancelWake: () => void = () => undefined

  constructor(ports: SlicePorts) {
    this.#ports = ports
  }

  /** For pages; null when nothing is open. */
  get view(): OpenEvaluation | null {
    const { open } = this.#state
    if (open === null) return null
    const { round, weights } = open.order
    const settled = open.parts.filter((part) => part.settled !== null).length
    return { round, weights: [...weights], slices: open.parts.length, settled }
  }

  /**
   * The whole set's cross entropy; null when newer orders took its place.
   * @throws PotluckError `evaluation-failed` when volunteers do not agree.
   */
  measure(order: Order): Promise<{ readonly nats: number } | null> {
    return new Promise((resolve, reject) => {
      this.#waiters.set(order, { resolve, reject })
      this.#feed({ type: 'order', order, now: this.#ports.clock.now() })
    })
  }

  request(volunteer: string, { run, round }: SliceRequest): SliceGrant {
    const asked = { volunteer, run, round, id: newId(), now: this.#ports.clock.now() }
    const leased = this.#feed({ type: 'request', ...asked }).find((effect) => effect.type === 'leased')
    return leased ? { slice: leased.slice } : { none: true }
  }

  /** @throws PotluckError `slice-over`, `bad-request` */
  answer(volunteer: string, { slice, ...measured }: SliceAnswer): void {
    const given = { volunteer, id: slice, ...measured, now: this.#ports.clock.now() }
    const refused = this.#feed({ type: 'answer', ...given }).find((effect) => effect.type === 'refused')
    if (refused) throw REFUSALS[refused.reason]
  }

  gone(volunteer: string): void {
    this.#feed({ type: 'gone', volunteer, now: this.#ports.clock.now() })
  }

  /** The run they were of is no more. */
  withdraw(): void {
    this.#feed({ type: 'withdraw', now: this.#ports.clock.now() })
  }

  close(): void {
    this.#cancelWake()
    for (const { reject } of this.#waiters.values())
      reject(new PotluckError('internal', 'The coordinator is stopping.', 500))
    this.#waiters.clear()
  }

  #feed(event: SliceEvent): SliceEffect[] {
    const before = this.view
    const { state, effects } = reduce(this.#state, event)
    this.#state = state
    for (const effect of effects) this.#carryOut(effect)
    this.#setWake()
    if (JSON.stringify(this.view) !== JSON.stringify(before)) this.#ports.changed()
    return effects
  }

  #carryOut(effect: SliceEffect): void {
    const { answered, problem } = this.#ports
    switch (effect.type) {
      case 'leased':
      case 'none':
        return
      case 'taken':
      case 'refused':
        answered(effect.type)
        return
      case 'odd': {
        answered('odd')
        const { volunteer, round, nats, agreed } = effect
        const figures = `${nats.toFixed(3)} nats where two others found ${agreed.toFixed(3)}`
        problem('evaluation-odd', `Volunteer ${volunteer} measured ${figures}, after round ${round}.`)
        return
      }
      case 'complete':
        this.#settle(effect.order, ({ resolve }) => resolve({ nats: effect.nats }))
        return
      case 'superseded':
        this.#settle(effect.order, ({ resolve }) => resolve(null))
        return
      case 'failed': {
        const answers = effect.answers.map((nats) => nats.toFixed(3)).join(', ')
        const text = `No two volunteers agree on the sequences from ${effect.first} on: ${answers} nats.`
        this.#settle(effect.order, ({ reject }) => reject(new PotluckError('evaluation-failed', text)))
        return
      }
      default:
        effect satisfies never
    }
  }

  #settle(order: Order, settle: (waiter: Waiter) => void): void {
    const waiter = this.#waiters.get(order)
    this.#waiters.delete(order)
    if (waiter) settle(waiter)
  }

  #setWake(): void {
    this.#cancelWake()
    const { clock } = this.#ports
    const at = nextWake(this.#state)
    this.#cancelWake =
      at === null ? () => undefined : clock.at(at, () => void this.#feed({ type: 'tick', now: clock.now() }))
  }
}
