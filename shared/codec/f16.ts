/**
 * Half precision with a scale a block: 2 bytes a value and 2 a block of 256, little endian.
 *
 *   bytes 0..1   f16 scale: the power of two at or above the block's largest magnitude, but at least 2^-24 and at
 *                most 2^15; 0 when all values are 0
 *   bytes 2..    an f16 for each value: value / scale, rounded to nearest, ties to even
 *
 * A power of two makes the division exact, so a value loses only what binary16 loses: 2^-11 of itself, or 2^-25 of
 * the scale, whichever is more. Decoding takes any scale that is finite and not negative.
 */
import { blockwise, type EncodedBlock } from './blocks.ts'
import { CodecError } from './errors.ts'
import { HALVES, readHalf, toHalfBits, writeHalf } from './half.ts'
import { largestOf, readScale } from './scale.ts'

const HEADER = 2

function encodeBlock({ values, bits, start, end, bytes, at }: EncodedBlock): void {
  const scale = powerAbove(largestOf(bits, start, end))
  if (scale === 0) return
  writeHalf(bytes, at, toHalfBits(scale))
  const inverse = 1 / scale
  for (let i = start, to = at + HEADER; i < end; i++, to += 2) {
    writeHalf(bytes, to, toHalfBits((values[i] as number) * inverse)) // i < end <= length
  }
}

function decodeBlock(bytes: Uint8Array, at: number, values: Float32Array, start: number, end: number): void {
  const scale = readScale(bytes, at)
  let endless = 0
  for (let i = start, from = at + HEADER; i < end; i++, from += 2) {
    const half = readHalf(bytes, from)
    endless |= (half & 0x7c00) + 0x0400 // carries into 0x8000 when all ones
    values[i] = scale * (HALVES[half] as number) // the table has all 65,536
  }
  if (endless & 0x8000)
    throw new CodecError('not-finite', `The block at byte ${at} has a value that is no finite number.`)
}

/** The smallest power of two not below `largest` (0 to 65504), within what f16 can hold; 0 for 0. */
function powerAbove(largest: number): number {
  if (largest === 0) return 0
  let power = 2 ** -24
  while (power < largest && power < 2 ** 15) power *= 2
  return power
}

export const f16 = blockwise({
  name: 'f16',
  blockSize: 256,
  blockLength: (values) => HEADER + 2 * values,
  encodeBlock,
  decodeBlock,
})
