/** Random choices from a seed, for tests: the same seed makes the same choices. */
import { randomFrom } from '../../../shared/model/random.ts'

export class Chance {
  readonly #random: () => number

  constructor(seed: string) {
    this.#random = randomFrom(seed)
  }

  /** Uniform in [0, 1). */
  number = (): number => this.#random()

  /** Whether something happens that does so in `share` of all cases. */
  of = (share: number): boolean => this.#random() < share

  /** A whole number; both ends included. */
  between = (least: number, most: number): number => least + Math.floor(this.#random() * (most - least + 1))

  /** Null of an empty list. */
  pick<T>(list: readonly T[]): T | null {
    return list[Math.floor(this.#random() * list.length)] ?? null
  }

  /** By weights, of which one at least is not zero. */
  weighted<K extends string>(weights: Readonly<Record<K, number>>): K {
    const names = Object.keys(weights) as K[] // a record's keys
    const total = names.reduce((sum, name) => sum + weights[name], 0)
    let left = this.#random() * total
    const chosen = names.find((name) => {
      left -= weights[name]
      return left < 0
    })
    return chosen ?? (names[0] as K) // rounding at the very end of the list
  }
}
