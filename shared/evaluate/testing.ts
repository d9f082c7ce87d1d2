/** For tests: Python's generator, with which the harness's reference results were made. */

/** CPython's random.Random(seed) for a small whole number: the Mersenne Twister MT19937, seeded by init_by_array. */
export class PythonRandom {
  readonly #state = new Uint32Array(624)
  #next = 624

  constructor(seed: number) {
    const state = this.#state
    state[0] = 19650218
    for (let i = 1; i < 624; i++) state[i] = Math.imul(1812433253, this.#mixed(i)) + i
    let i = 1
    for (let k = 0; k < 624; k++) {
      state[i] = (this.#at(i) ^ Math.imul(this.#mixed(i), 1664525)) + seed
      i = this.#after(i)
    }
    for (let k = 0; k < 623; k++) {
      state[i] = (this.#at(i) ^ Math.imul(this.#mixed(i), 1566083941)) - i
      i = this.#after(i)
    }
    state[0] = 0x80000000
  }

  #at(i: number): number {
    return this.#state[i] ?? 0
  }

  #mixed(i: number): number {
    const before = this.#at(i - 1)
    return before ^ (before >>> 30)
  }

  /** The next index; the last one's value is also what stands before the first. */
  #after(i: number): number {
    if (i < 623) return i + 1
    this.#state[0] = this.#at(623)
    return 1
  }

  /** 32 bits. */
  #word(): number {
    if (this.#next === 624) this.#refill()
    let y = this.#at(this.#next++)
    y ^= y >>> 11
    y ^= (y << 7) & 0x9d2c5680
    y ^= (y << 15) & 0xefc60000
    return (y ^ (y >>> 18)) >>> 0
  }

  #refill(): void {
    for (let i = 0; i < 624; i++) {
      const y = (this.#at(i) & 0x80000000) | (this.#at((i + 1) % 624) & 0x7fffffff)
      this.#state[i] = this.#at((i + 397) % 624) ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0)
    }
    this.#next = 0
  }

  /** In [0, 1), 53 bits. */
  random(): number {
    const [high, low] = [this.#word() >>> 5, this.#word() >>> 6]
    return (high * 2 ** 26 + low) / 2 ** 53
  }

  shuffled<T>(list: readonly T[]): T[] {
    const all = [...list]
    for (let i = all.length - 1; i > 0; i--) {
      const j = this.#below(i + 1)
      const [a, b] = [all[i] as T, all[j] as T] // both are in range
      all[i] = b
      all[j] = a
    }
    return all
  }

  #below(limit: number): number {
    const bits = Math.floor(Math.log2(limit)) + 1
    for (;;) {
      const value = this.#word() >>> (32 - bits)
      if (value < limit) return value
    }
  }
}
