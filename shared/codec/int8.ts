/**
 * One byte a value and 2 a block of 256: 1.008 bytes a parameter.
 *
 *   bytes 0..1   f16 scale, little endian: the block's largest magnitude, rounded up; 0 when all values are 0
 *   bytes 2..    an int8 q for each value, −127 to 127: value = q·scale/127, rounded to f32
 *
 * −128 is `malformed`: it would be beyond the scale. q is rounded to nearest, ties to even, so a value moves by
 * scale/254 at most. (A scale under 2^-14 is subnormal; then the largest value may move by scale/127: see quantise.ts.)
 */
import { blockwise, type EncodedBlock } from './blocks.ts'
import { CodecError } from './errors.ts'
import { writeHalf } from './half.ts'
import { quantise } from './quantise.ts'
import { readScale } from './scale.ts'

const HEADER = 2
const MOST = 127

function encodeBlock(block: EncodedBlock): void {
  writeHalf(block.bytes, block.at, quantise(block, MOST, block.signed, block.at + HEADER))
}

function decodeBlock(bytes: Uint8Array, at: number, values: Float32Array, start: number, end: number): void {
  const step = readScale(bytes, at) / MOST
  let signs = 0
  for (let i = start, from = at + HEADER; i < end; i++, from++) {
    const q = ((bytes[from] as number) << 24) >> 24 // the length has been checked
    signs |= q + MOST // negative for −128 alone
    values[i] = q * step
  }
  if (signs < 0) throw new CodecError('malformed', `The block at byte ${at} holds −128.`)
}

export const int8 = blockwise({
  name: 'int8',
  blockSize: 256,
  blockLength: (values) => HEADER + values,
  encodeBlock,
  decodeBlock,
})
