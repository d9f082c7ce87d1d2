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
/** Not by %, which is slow for numbers above 32 bits. */
export const indexOfKey = (key: number): number =>
  MOST_VALUES - 1 - (key - MOST_VALUES * Math.floor(key / MOST_VALUES))

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
  let total = 0
  for (let n = 0; n < count; n++) total += ascending[n] as number // n < length
  let lowerCount = 0
  let lowerSum = 0
  let most = (total * total) / count
  let below = 0
  for (let n = 1; n < count; n++) {
    below += ascending[n - 1] as number
    const above = total - below
    const explained = (below * below) / n + (above * above) / (count - n)
    if (explained <= most) continue
    most = explained
    lowerCount = n
    lowerSum = below
  }
  const lower = lowerCount === 0 ? 0 : lowerSum / lowerCount
  return { lowerCount, lower, upper: (total - lowerSum) / (count - lowerCount) }
}
