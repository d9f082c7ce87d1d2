/**
 * The data cursor: which sequences of which epoch are still to be leased. Ranges count positions in an epoch's
 * permutation (shared/corpus/epoch.ts turns them into shards and indices). Pure functions over plain data.
 */
import { z } from 'zod'
import { type DataRange, dataRangeSchema } from '../../shared/protocol/run.ts'
import { Ranges } from './ranges.ts'

/** As they are in memory, or as JSON has them. */
const rangesSchema = z
  .preprocess((value) => (value instanceof Ranges ? value.toJSON() : value), z.array(dataRangeSchema))
  .transform((ranges) => Ranges.of(ranges))

export const poolSchema = z.strictObject({
  /** The epoch that new sequences come from, and the first of them not leased yet. */
  epoch: z.number().int().nonnegative(),
  cursor: z.number().int().nonnegative(),
  /** Given back. */
  returned: rangesSchema,
})
export type Pool = z.infer<typeof poolSchema>

export const emptyPool = (): Pool => ({ epoch: 0, cursor: 0, returned: Ranges.of([]) })

/** Takes `count` sequences: what was given back first, then new ones, running into the next epoch if need be. */
export function take(
  pool: Pool,
  count: number,
  sequencesPerEpoch: number,
): { pool: Pool; ranges: DataRange[] } {
  const ranges: DataRange[] = []
  let { epoch, cursor, returned } = pool
  let missing = count
  for (let range = returned.first; range !== null && missing > 0; range = returned.first) {
    const [taken, left] = splitRanges([range], missing)
    returned = returned.without(range).withAll(left)
    ranges.push(...taken)
    missing -= countSequences(taken)
  }
  while (missing > 0) {
    if (cursor === sequencesPerEpoch) {
      epoch += 1
      cursor = 0
    }
    const part = Math.min(missing, sequencesPerEpoch - cursor)
    ranges.push({ epoch, first: cursor, count: part })
    cursor += part
    missing -= part
  }
  return { pool: { epoch, cursor, returned }, ranges }
}

/** Puts ranges back. */
export const giveBack = (pool: Pool, ranges: readonly DataRange[]): Pool => ({
  ...pool,
  returned: pool.returned.withAll(ranges),
})

/** The first `count` sequences of the ranges, and the rest. Takes everything when there are fewer. */
export function splitRanges(ranges: readonly DataRange[], count: number): [DataRange[], DataRange[]] {
  const head: DataRange[] = []
  const tail: DataRange[] = []
  let missing = count
  for (const range of ranges) {
    const part = Math.min(missing, range.count)
    if (part > 0) head.push({ ...range, count: part })
    if (part < range.count) tail.push({ ...range, first: range.first + part, count: range.count - part })
    missing -= part
  }
  return [head, tail]
}

export const countSequences = (ranges: readonly DataRange[]): number =>
  ranges.reduce((sum, range) => sum + range.count, 0)
