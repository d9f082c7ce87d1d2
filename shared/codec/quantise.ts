/** Values as whole steps of a block's scale: what int8 and int4 share. Packing the steps is theirs. */
import type { EncodedBlock } from './blocks.ts'
import { HALVES } from './half.ts'
import { largestOf, scaleAbove } from './scale.ts'

/** Added and taken away again, it leaves the nearest whole number, ties to even. */
const WHOLE = 1.5 * 2 ** 52
const nearest = (x: number) => x + WHOLE - WHOLE

/** f16 below this are subnormal: coarser than a step. */
const SMALLEST_NORMAL = 0x0400

/**
 * Writes q, from −most to most, of each value of the block to steps[at], steps[at + 1], ..., so that value ≈
 * q·scale/most. Returns the scale's 16 bits; for a block of zeros they are 0.
 */
export function quantise(block: EncodedBlock, most: number, steps: Int8Array, at: number): number {
  const { values, bits, start, end } = block
  const largest = largestOf(bits, start, end)
  const half = scaleAbove(largest)
  if (half === 0) {
    steps.fill(0, at, at + end - start)
    return 0
  }
  const inverse = most / (HALVES[half] as number) // the table has all 65,536
  for (let i = start; i < end; i++) {
    steps[at + i - start] = nearest((values[i] as number) * inverse) // i < end <= length
  }
  if (half < SMALLEST_NORMAL) keepScale(block, most, steps, at, largest, half)
  return half
}

/**
 * [C5] A subnormal scale may be so far above the largest value that this is rounded down to where the next smaller
 * scale would do; who encodes the decoded values then takes that one, and rounds anew. One step up keeps the scale.
 */
function keepScale(
  { values, start, end }: EncodedBlock,
  most: number,
  steps: Int8Array,
  at: number,
  largest: number,
  half: number,
): void {
  const scale = HALVES[half] as number
  const decoded = Math.fround(nearest(largest * (most / scale)) * (scale / most))
  if (decoded === 0 || decoded > (HALVES[half - 1] as number)) return
  for (let i = start; i < end; i++) {
    const value = values[i] as number // i < end <= length
    if (Math.abs(value) === largest)
      steps[at + i - start] = (steps[at + i - start] as number) + Math.sign(value)
  }
}
