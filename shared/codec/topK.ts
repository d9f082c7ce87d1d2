/** The largest magnitudes of a block, and the two numbers that stand for them best. */

/** Sizes of blocks this can take: an index has 12 bits. */
export const MOST_VALUES = 4096

/** Magnitudes are sorted roughly by their upper 11 bits: 8 buckets between powers of two. */
const BUCKET_SHIFT = 20
const counts = new Uint16Array(2048)
const keys = new Float64Array(MOST_VALUES)

/**
 * The k largest magnitudes from `start` to `end`, smallest first, each as magnitude bits · 4096 + (4095 − index),
 * index counted from `start`: of equal ones, the first in the block are larger. The result is valid until the next call.
 */
export function topK(bits: Uint32Array, start: number, end: number, k: number): Float64Array {
  const lowest = lowestBucket(bits, start, end, k)
  let found = 0
  for (let i = start; i < end; i++) {
    const magnitude = (bits[i] as number) & 0x7fffffff // i < end <= length
    if (magnitude >>> BUCKET_SHIFT >= lowest) keys[found++] = keyOf(magnitude, i - start)
  }
  return keys
    .subarray(0, found)
    .sort()
    .subarray(found - k)
}

const keyOf = (magnitude: number, index: number) => magnitude * MOST_VALUES + (MOST_VALUES - 1 - index)
export const indexOfKey = (key: number): number => MOST_VALUES - 1 - (key % MOST_VALUES)

/** The bucket at and above which there are k values or more. */
function lowestBucket(bits: Uint32Array, start: number, end: number, k: number): number {
  counts.fill(0)
  for (let i = start; i < end; i++) {
    const bucket = ((bits[i] as number) & 0x7fffffff) >>> BUCKET_SHIFT
    counts[bucket] = (counts[bucket] as number) + 1 // 11 bits, 2048 counts
  }
  let bucket = counts.length
  for (let above = 0; above < k; ) above += counts[--bucket] as number
  return bucket
}

/** How many of the smallest magnitudes share the lower of two numbers, and the numbers: the means of both parts. */
export interface TwoLevels {
  readonly lowerCount: number
  readonly lower: number
  readonly upper: number
}

/**
 * The two numbers with the least squared error: of all ways to cut the ascending magnitudes in two, the means on
 * either side of the best. The error is Σx² − (Σlower)²/count − (Σupper)²/count.
 */
export function twoLevels(ascending: Float64Array): TwoLevels {
  const count = ascending.length
  const total = ascending.reduce((sum, x) => sum + x, 0)
  let best = { lowerCount: 0, lower: 0, upper: total / count, explained: total ** 2 / count }
  let below = 0
  for (let lowerCount = 1; lowerCount < count; lowerCount++) {
    below += ascending[lowerCount - 1] as number // lowerCount < length
    const above = total - below
    const explained = below ** 2 / lowerCount + above ** 2 / (count - lowerCount)
    if (explained > best.explained) {
      best = { lowerCount, lower: below / lowerCount, upper: above / (count - lowerCount), explained }
    }
  }
  return best
}
