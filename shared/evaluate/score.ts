/** What a model's log-likelihoods are worth in a task: right or wrong, and accuracies, as the harness counts them. */
import { lengthOf } from './python.ts'
import type { Example } from './tasks.ts'

/** Sums over examples, so that parts of a task add up. */
export interface Tally {
  readonly examples: number
  /** Right by the likeliest choice (`acc`), and by the likeliest per character (`acc_norm`). */
  readonly plain: number
  readonly normalised: number
  /** What guessing gets right on average. */
  readonly guessed: number
}

export const NO_TALLY: Tally = { examples: 0, plain: 0, normalised: 0, guessed: 0 }

/** @param nats ln p of each choice. */
export function tallyOf({ choices, gold }: Example, nats: readonly number[]): Tally {
  const perCharacter = nats.map((sum, i) => sum / lengthOf(choices[i] ?? ''))
  return {
    examples: 1,
    plain: Number(largest(nats) === gold),
    normalised: Number(largest(perCharacter) === gold),
    guessed: 1 / choices.length,
  }
}

export const added = (a: Tally, b: Tally): Tally => ({
  examples: a.examples + b.examples,
  plain: a.plain + b.plain,
  normalised: a.normalised + b.normalised,
  guessed: a.guessed + b.guessed,
})

/** numpy's argmax: the first of equals. */
const largest = (values: readonly number[]): number => values.indexOf(Math.max(...values))

export interface Accuracy {
  readonly accuracy: number
  /** Of the mean, by the sample's deviation: √(p(1−p)/(n−1)); 0 of a single example. */
  readonly standardError: number
}

export interface Score {
  readonly examples: number
  readonly plain: Accuracy
  readonly normalised: Accuracy
  readonly chance: number
}

/** @param tally of one example at least. */
export const scoreOf = ({ examples, plain, normalised, guessed }: Tally): Score => ({
  examples,
  plain: accuracyOf(plain, examples),
  normalised: accuracyOf(normalised, examples),
  chance: guessed / examples,
})

function accuracyOf(right: number, examples: number): Accuracy {
  const accuracy = right / examples
  return { accuracy, standardError: Math.sqrt((accuracy * (1 - accuracy)) / Math.max(1, examples - 1)) }
}
