/** Threads of one merge wait here for one another. One that fails lets the others go, with Abandoned. */

export class Abandoned extends Error {
  override readonly name = 'Abandoned'
}

const ARRIVED = 0
const GENERATION = 1
const FAILED = 2
/** About 100 µs: waiting for a moment costs less than being put to sleep and woken some thousand times a merge. */
const SPINS = 30_000

export const BARRIER_BYTES = 3 * Int32Array.BYTES_PER_ELEMENT

export class Barrier {
  readonly #state: Int32Array
  readonly #threads: number

  /** All threads of a merge pass the same memory of BARRIER_BYTES, zeros at first. */
  constructor(memory: SharedArrayBuffer, threads: number) {
    this.#state = new Int32Array(memory)
    this.#threads = threads
  }

  /** Returns when all threads have come. @throws Abandoned when one of them has failed. */
  wait(): void {
    const state = this.#state
    const generation = Atomics.load(state, GENERATION)
    if (Atomics.add(state, ARRIVED, 1) + 1 === this.#threads) {
      Atomics.store(state, ARRIVED, 0)
      this.#open()
    }
    for (let spins = 0; spins < SPINS && this.#closed(generation); spins++);
    while (this.#closed(generation)) Atomics.wait(state, GENERATION, generation)
    if (Atomics.load(state, FAILED) === 1) throw new Abandoned('Another thread of this merge has failed.')
  }

  fail(): void {
    Atomics.store(this.#state, FAILED, 1)
    this.#open()
  }

  #closed(generation: number): boolean {
    return Atomics.load(this.#state, GENERATION) === generation && Atomics.load(this.#state, FAILED) === 0
  }

  #open(): void {
    Atomics.add(this.#state, GENERATION, 1)
    Atomics.notify(this.#state, GENERATION)
  }
}
