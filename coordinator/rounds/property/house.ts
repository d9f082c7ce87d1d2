/**
 * A coordinator without a network: the real driver and machine on a real SQLite file, with a clock and merges that the
 * test moves by hand, and a power switch. What is in memory is lost with each restart; the file and the vectors stay.
 */
import { isDeepStrictEqual } from 'node:util'
import { commitOf } from '../../runs/commit.ts'
import type { MetadataStore } from '../../store/metadata.ts'
import { openSqliteStore } from '../../store/sqlite.ts'
import { Book } from '../book.ts'
import { RoundDriver } from '../driver.ts'
import type { Effect, Merge, MergedFragment, RoundEvent } from '../events.ts'
import { freshMachine, type Machine } from '../state.ts'
import type { Vectors } from './vectors.ts'

/** Where the next commit fails: before anything is written, or after all of it is, with the process. */
export type Fault = 'before' | 'after' | null

class Fallen extends Error {}

interface Timer {
  readonly time: number
  readonly callback: () => void
}

interface WaitingMerge {
  readonly merge: Merge
  readonly resolve: (merged: MergedFragment) => void
  readonly reject: (error: Error) => void
}

export interface HouseParts {
  readonly file: string
  readonly vectors: Vectors
  /** Hears of every transaction that has become durable. */
  readonly onDurable: (machine: Machine, effects: readonly Effect[]) => void
}

const RUN_BEGAN = 1_700_000_000_000

export class House {
  now = RUN_BEGAN
  fault: Fault = null
  /** Merges that were begun. */
  merges: WaitingMerge[] = []
  readonly #parts: HouseParts
  #store: MetadataStore
  #driver: RoundDriver
  #timers = new Set<Timer>()
  /** Under way. */
  #commits = 0
  #dead = false
  #broken: unknown = null

  private constructor(parts: HouseParts, store: MetadataStore, machine: Machine) {
    this.#parts = parts
    this.#store = store
    this.#driver = this.#drive(machine)
  }

  static async open(parts: HouseParts, machine: Machine, volunteers: readonly string[]): Promise<House> {
    const store = await openSqliteStore(parts.file)
    for (const id of volunteers) await store.createVolunteer({ id, name: id, tokenHash: id, now: RUN_BEGAN })
    await store.createRun({ id: machine.run, config: machine.config, now: RUN_BEGAN })
    await store.prepareRun(machine.run, machine, 'f'.repeat(64))
    return new House(parts, store, machine)
  }

  get machine(): Machine {
    return this.#driver.machine
  }

  get store(): MetadataStore {
    return this.#store
  }

  /** Null when the coordinator could not make it durable, or fell before it could answer. */
  async send(event: RoundEvent): Promise<Effect[] | null> {
    try {
      return await this.#driver.dispatch(event)
    } catch (error) {
      if (error instanceof Fallen) return null
      throw error
    } finally {
      await this.#settle()
    }
  }

  /** Moves the clock, backwards too, and rings what has come due. */
  async pass(milliseconds: number): Promise<void> {
    this.now += milliseconds
    await this.#ring()
  }

  async mergeEnds(how: 'well' | 'badly'): Promise<void> {
    const one = this.merges.shift()
    if (how === 'well') one?.resolve(this.#parts.vectors.merge(one.merge))
    else one?.reject(new Error('The disk is full.'))
    await this.#settle()
  }

  /** Takes up what the store has. @throws when that is not what the machine was */
  async restart(): Promise<void> {
    const fell = this.#dead
    const before = this.machine
    await this.close()
    this.#store = await openSqliteStore(this.#parts.file)
    const kept = (await this.#store.latestRun())?.machine
    if (!kept) throw new Error('The store has lost the machine.')
    const same = isDeepStrictEqual(kept, keptOf(before))
    if (!fell && !same) throw new Error('The store has another state than the machine.')
    this.#dead = false
    this.#driver = this.#drive(kept)
    await this.#driver.restart()
    await this.#settle()
  }

  async close(): Promise<void> {
    await this.#driver.close()
    this.#timers.clear()
    this.merges = []
    this.fault = null
    await this.#store.close()
  }

  #drive(machine: Machine): RoundDriver {
    return new RoundDriver(machine, {
      clock: { now: () => this.now, at: (time, callback) => this.#at({ time, callback }) },
      commit: (state, effects, now) => this.#commit(state, effects, now),
      merge: (merge) => new Promise((resolve, reject) => this.merges.push({ merge, resolve, reject })),
      changed: () => undefined,
      roundClosed: () => undefined,
      problem: () => undefined,
    })
  }

  #at(timer: Timer): () => void {
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  async #commit(machine: Machine, effects: readonly Effect[], now: number): Promise<void> {
    const { fault } = this
    this.fault = null
    if (fault === 'before' || this.#dead) throw new Fallen()
    this.#commits += 1
    await this.#store.commit(commitOf(machine, effects, now, 0)).finally(() => {
      this.#commits -= 1
    })
    this.#tell(machine, effects)
    if (fault !== 'after') return
    this.#dead = true
    throw new Fallen()
  }

  /** What it throws is kept for the test: the driver takes it for a merge that failed. */
  #tell(machine: Machine, effects: readonly Effect[]): void {
    try {
      this.#parts.onDurable(machine, effects)
    } catch (error) {
      this.#broken ??= error
    }
  }

  async #ring(): Promise<void> {
    for (let laps = 0; laps < 100; laps++) {
      const due = [...this.#timers].filter(({ time }) => time <= this.now)
      if (due.length === 0) return
      for (const timer of due) {
        this.#timers.delete(timer)
        timer.callback()
      }
      await this.#settle()
    }
    throw new Error('Timers ring without end.')
  }

  /** Until all that is under way has ended; a process that fell is started again. */
  async #settle(): Promise<void> {
    do await new Promise((resolve) => setImmediate(resolve))
    while (this.#commits > 0)
    if (this.#broken !== null) throw this.#broken
    if (this.#dead) await this.restart()
  }
}

/** [R10] */
function keptOf(machine: Machine): Machine {
  const parts = [...machine.leases.byId.values(), ...machine.accepted.values()].map(
    ({ volunteer }) => volunteer,
  )
  const paces = parts.flatMap((volunteer) => {
    const pace = machine.paces.get(volunteer)
    return pace ? [[volunteer, pace] as const] : []
  })
  const { median, present, gone, eligible } = freshMachine({ ...machine, fragments: [] })
  return { ...machine, paces: Book.of(paces), median, present, gone, eligible }
}
