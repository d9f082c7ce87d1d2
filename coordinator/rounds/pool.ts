/**
 * The data cursor: which sequences of which epoch are still to be leased. Ranges count positions in an epoch's
 * permutation (shared/corpus/epoch.ts turns them into shards and indices). Pure functions over plain data.
 */
import { z } from 'zod'
import { type DataRange, dataRangeSchema } from '../../shared/protocol/run.ts'

export const poolSchema = z.strictObject({
  /** The epoch that new sequences come from, and the first of them not leased yet. */
  epoch: z.number().int().nonnegative(),
  cursor: z.number().int().nonnegative(),
  /** Given back, sorted by epoch and first, never touching one another. */
  returned: z.array(dataRangeSchema),
})
export type Pool = z.infer<typeof poolSchema>

export const emptyPool = (): Pool => ({ epoch: 0, cursor: 0, returned: [] })

/** Takes `count` sequences: what was given back first, then new ones, running into the next epoch if need be. */
export function take(
  pool: Pool,
  count: number,
  sequencesPerEpoch: number,
): { pool: Pool; ranges: DataRange[] } {
  const [ranges, returned] = splitRanges(pool.returned, count)
  let { epoch, cursor } = pool
  let missing = count - countSequences(ranges)
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

/** Puts ranges back, joining neighbours. */
export function giveBack(pool: Pool, ranges: readonly DataRange[]): Pool {
  const sorted = [...pool.returned, ...ranges].sort((a, b) => a.epoch - b.epoch || a.first - b.first)
  const returned: DataRange[] = []
  for (const range of sorted) {
    const last = returned.at(-1)
    if (last && last.epoch === range.epoch && last.first + last.count === range.first) {
      returned[returned.length - 1] = { ...last, count: last.count + range.count }
    } else {
      returned.push(range)
    }
  }
  return { ...pool, returned }
}

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
