/**
 * Half a byte a value and 2 bytes a block of 256: 0.508 bytes a parameter.
 *
 *   bytes 0..1   f16 scale, little endian: the block's largest magnitude, rounded up; 0 when all values are 0
 *   bytes 2..    a signed nibble q for each value, −7 to 7, two to a byte, the first in the low half:
 *                value = q·scale/7, rounded to f32. After an odd number of values the last high half is 0.
 *
 * −8 is `malformed`: it would be beyond the scale; so is a last high half that is not 0. q is rounded to nearest,
 * ties to even, so a value moves by scale/14 at most. (A scale under 2^-14 is subnormal; then the largest value may
 * move by scale/7: see quantise.ts.)
 */
import { blockwise, type EncodedBlock } from './blocks.ts'
import { CodecError } from './errors.ts'
import { writeHalf } from './half.ts'
import { quantise } from './quantise.ts'
import { readScale } from './scale.ts'

const HEADER = 2
const MOST = 7
const BLOCK = 256

const steps = new Int8Array(BLOCK)

function encodeBlock(block: EncodedBlock): void {
  const { start, end, bytes, at } = block
  const count = end - start
  if (count % 2 === 1) steps[count] = 0
  writeHalf(bytes, at, quantise(block, MOST, steps, 0))
  for (let i = 0, to = at + HEADER; i < count; i += 2, to++) {
    bytes[to] = ((steps[i] as number) & 15) | ((steps[i + 1] as number) << 4) // BLOCK is even
  }
}

function decodeBlock(bytes: Uint8Array, at: number, values: Float32Array, start: number, end: number): void {
  const step = readScale(bytes, at) / MOST
  let eights = 0
  let from = at + HEADER
  let i = start
  for (; i + 1 < end; i += 2, from++) {
    const byte = bytes[from] as number // the length has been checked
    eights |= eightsIn(byte)
    values[i] = ((byte << 28) >> 28) * step
    values[i + 1] = ((byte << 24) >> 28) * step
  }
  if (i < end) {
    const byte = bytes[from] as number
    if (byte > 15)
      throw new CodecError('malformed', `The last half byte of the block at byte ${at} is not 0.`)
    eights |= eightsIn(byte)
    values[i] = ((byte << 28) >> 28) * step
  }
  if (eights !== 0) throw new CodecError('malformed', `The block at byte ${at} holds −8.`)
}

/** Not 0 when one of the two nibbles is 8: when x, which has 0 in its place, borrows. */
function eightsIn(byte: number): number {
  const x = byte ^ 0x88
  return (x - 0x11) & ~x & 0x88
}

export const int4 = blockwise({
  name: 'int4',
  blockSize: BLOCK,
  blockLength: (values) => HEADER + Math.ceil(values / 2),
  encodeBlock,
  decodeBlock,
})
