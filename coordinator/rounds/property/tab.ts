/**
 * An honest volunteer's tab without a network and without an engine: a replica of a few real parameters that follows
 * client/swarm's rules of when to begin anew and when to carry over. Beside the parameters runs an odometer, which
 * counts the tokens that they hold on top of the global weights: it is moved by the very same function, with zeros for
 * global weights, and so knows nothing of the machine's bookkeeping.
 */
import { pseudoGradient } from '../../../shared/diloco/outer.ts'
import { carriedOver } from '../../../shared/diloco/overlap.ts'
import type { RunConfig } from '../../../shared/protocol/run.ts'
import type { Machine, OpenLease } from '../state.ts'
import type { Chance } from './chance.ts'
import { hashOf, type Values, type Vectors } from './vectors.ts'

/** Bytes on their way, and what is true of them. */
export interface Upload {
  readonly volunteer: string
  readonly lease: string
  readonly hash: string
  readonly steps: number
  /** Null of bytes that no honest replica made. */
  readonly honest: {
    /** Tokens on top of the fragment's global weights. */
    readonly tokens: number
    /** Those weights. */
    readonly base: string
  } | null
}

interface Turn {
  readonly lease: string
  readonly round: number
  readonly era: number
  readonly steps: number
  readonly anew: boolean
  done: number
  /** The global weights of its round are in place. */
  inPlace: boolean
}

interface Origin {
  readonly lease: string
  readonly round: number
  readonly era: number
  outcome: 'accepted' | 'rejected' | null
}

interface Fragment {
  local: Values
  mark: Values
  base: Values
  baseHash: string
  odometer: Values
  odometerMark: Values
}

export const VALUES = 2

export class Tab {
  readonly id: string
  readonly #config: RunConfig
  readonly #tokensAStep: number
  readonly #chance: Chance
  readonly #vectors: Vectors
  #fragments: Fragment[] = []
  #origin: Origin | null = null
  joined = false
  turn: Turn | null = null
  upload: Upload | null = null
  /** Tokens a second, as it tells them. */
  speed: number | null

  constructor(id: string, { config, sequenceLength }: Machine, vectors: Vectors, chance: Chance) {
    this.id = id
    this.#config = config
    this.#tokensAStep = config.batchSize * sequenceLength
    this.#vectors = vectors
    this.#chance = chance
    this.speed = chance.of(0.2) ? null : chance.between(1, 40)
  }

  /** For the request of a lease. */
  get after(): string | null {
    return this.#origin?.outcome === 'rejected' ? null : (this.#origin?.lease ?? null)
  }

  get trains(): boolean {
    const { turn } = this
    if (turn === null || turn.done === turn.steps) return false
    return turn.inPlace || (this.#config.overlap && !turn.anew)
  }

  get finished(): boolean {
    return this.turn?.inPlace === true && this.turn.done > 0
  }

  take(lease: string, { round, steps }: OpenLease, era: number): void {
    const anew = this.#origin?.round !== round - 1 || this.#origin.era !== era
    this.turn = { lease, round, era, steps, anew, done: 0, inPlace: false }
  }

  /** Whether the global weights of the turn's round can be had, and what was sent before is settled. */
  canPlace(machine: Machine): boolean {
    const { turn } = this
    return (
      turn !== null &&
      !turn.inPlace &&
      this.upload === null &&
      machine.round === turn.round &&
      machine.era === turn.era
    )
  }

  place(machine: Machine): void {
    if (this.turn === null) throw new Error('no turn')
    const bases = machine.fragments.map(({ base }) => base.weights)
    const refused = this.#origin?.outcome === 'rejected'
    if (this.turn.anew) this.#fragments = bases.map((hash) => this.#fresh(hash))
    else {
      for (const [index, fragment] of this.#fragments.entries()) {
        const hash = bases[index] as string // as many as the machine's
        if (refused || fragment.baseHash !== hash) this.#carryOver(fragment, hash)
      }
    }
    if (this.turn.anew) this.#origin = null
    this.turn.inPlace = true
  }

  train(steps: number): void {
    if (this.turn === null) throw new Error('no turn')
    for (const { local, odometer } of this.#fragments) {
      for (let step = 0; step < steps; step++) {
        for (let i = 0; i < VALUES; i++) local[i] = (local[i] as number) + this.#chance.number() - 0.5 // i < VALUES
        odometer[0] = (odometer[0] as number) + this.#tokensAStep // has one value
      }
    }
    this.turn.done += steps
  }

  contribute(): Upload {
    if (this.turn === null) throw new Error('no turn')
    const { lease, round, era, done: steps } = this.turn
    const fragment = this.#fragments[(round - 1) % this.#config.fragments] as Fragment // R12
    const { base, baseHash, local, odometer } = fragment
    const hash = this.#vectors.put(pseudoGradient(base, local))
    const honest = { tokens: odometer[0] as number, base: baseHash } // has one value
    for (const each of this.#fragments) {
      each.mark = each.local.slice()
      each.odometerMark = each.odometer.slice()
    }
    this.#origin = { lease, round, era, outcome: null }
    this.turn = null
    this.upload = { volunteer: this.id, lease, hash, steps, honest }
    return this.upload
  }

  settle(lease: string, outcome: 'accepted' | 'rejected'): void {
    if (this.upload?.lease === lease) this.upload = null
    if (this.#origin?.lease === lease) this.#origin.outcome = outcome
  }

  /** The turn and its parameters are of no use; what was sent before is still on its way. */
  drop(): void {
    this.turn = null
    this.#origin = null
  }

  /** A reloaded tab: knows nothing. Answers what was on its way. */
  crash(): Upload | null {
    const { upload } = this
    this.drop()
    this.upload = null
    this.joined = false
    return upload
  }

  #fresh(hash: string): Fragment {
    const values = this.#vectors.get(hash)
    const [odometer, odometerMark] = [new Float32Array(1), new Float32Array(1)]
    return { local: values.slice(), mark: values, base: values, baseHash: hash, odometer, odometerMark }
  }

  #carryOver(fragment: Fragment, hash: string): void {
    const global = this.#vectors.get(hash)
    fragment.local = carriedOver(global, fragment.local, fragment.mark)
    fragment.odometer = carriedOver(new Float32Array(1), fragment.odometer, fragment.odometerMark)
    fragment.base = global
    fragment.baseHash = hashOf(global)
  }
}
