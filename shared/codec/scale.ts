/** A block's scale: the one f16 against which int8, int4 and f16 measure the values of a block. */
import { CodecError } from './errors.ts'
import { fromHalfBits, HALVES, readHalf, toHalfBits } from './half.ts'

/** Above this there is no finite f16. */
const LARGEST = 65_504

const float = new Float32Array(1)
const floatBits = new Uint32Array(float.buffer)

/** Largest magnitude from `start` to `end`. @throws CodecError `not-finite` when it is above 65504 or no number. */
export function largestOf(bits: Uint32Array, start: number, end: number): number {
  let largest = 0
  for (let i = start; i < end; i++) {
    const magnitude = (bits[i] as number) & 0x7fffffff // i < end <= length
    if (magnitude > largest) largest = magnitude
  }
  floatBits[0] = largest
  checkLargest(float[0] as number, start, end)
  return float[0] as number
}

/** @throws CodecError `not-finite` when the largest magnitude of the values is above 65504 or no number. */
export function checkLargest(largest: number, start: number, end: number): void {
  if (largest <= LARGEST) return
  throw new CodecError('not-finite', `A value from ${start} to ${end} is not finite or is above ${LARGEST}.`)
}

/** The smallest f16 that is not below `largest`, which is 0 to 65504. */
export function scaleAbove(largest: number): number {
  const half = toHalfBits(largest)
  return fromHalfBits(half) < largest ? half + 1 : half
}

/** @throws CodecError `not-finite`, or `malformed` when it is negative. */
export function readScale(bytes: Uint8Array, at: number): number {
  const half = readHalf(bytes, at)
  if ((half & 0x7c00) === 0x7c00)
    throw new CodecError('not-finite', `The scale at byte ${at} is no finite number.`)
  if (half > 0x7fff) throw new CodecError('malformed', `The scale at byte ${at} is negative.`)
  return HALVES[half] as number // the table has all 65,536
}
