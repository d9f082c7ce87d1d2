/**
 * One value in 64, with 2 bits: 116 bytes a block of 4096, 0.028 bytes a parameter. Of a block of m values it keeps
 * the k = ⌈m/64⌉ largest magnitudes, of equal ones the first; all others are 0 when decoded.
 *
 *   bytes 0..3            two f16, little endian: the lower and the upper magnitude
 *   then ⌈12k/8⌉ bytes    k indices in the block, 12 bits each, strictly ascending
 *   then ⌈2k/8⌉ bytes     for each index 2 bits: 1 takes the upper magnitude, 2 makes it negative
 *
 * Bits fill bytes from the lowest up; those left over are 0. The two magnitudes are those with the least squared
 * error (topK.ts). `malformed`: a negative magnitude, indices that do not ascend or are m or more, left-over bits
 * that are not 0. Where a block has fewer than k values that are not 0, a kept 0 may become the lower magnitude.
 */
import { blockwise, type EncodedBlock } from './blocks.ts'
import { CodecError } from './errors.ts'
import { toHalfBits, writeHalf } from './half.ts'
import { checkLargest, readScale } from './scale.ts'
import { indexOfKey, topK, twoLevels } from './topK.ts'

const HEADER = 4
const BLOCK = 4096
const KEPT = 64
const UPPER = 1
const NEGATIVE = 2

const keptOf = (values: number) => Math.ceil(values / KEPT)
const indexBytes = (kept: number) => Math.ceil((12 * kept) / 8)

/** index · 4 + the 2 bits. */
const entries = new Uint16Array(keptOf(BLOCK))
const magnitudes = new Float64Array(keptOf(BLOCK))

function encodeBlock(block: EncodedBlock): void {
  const { start, end, bytes, at } = block
  const kept = entries.subarray(0, keptOf(end - start))
  chooseEntries(block, kept)
  const twoBits = at + HEADER + indexBytes(kept.length)
  for (let n = 0; n < kept.length; n++) {
    const entry = kept[n] as number // n < length
    writeIndex(bytes, at + HEADER, n, entry >>> 2)
    const to = twoBits + (n >> 2)
    bytes[to] = (bytes[to] as number) | ((entry & 3) << (2 * (n & 3)))
  }
}

/** Fills `kept`, ascending, and writes the two magnitudes. */
function chooseEntries({ values, bits, start, end, bytes, at }: EncodedBlock, kept: Uint16Array): void {
  const keys = topK(bits, start, end, kept.length)
  const ascending = magnitudes.subarray(0, kept.length)
  for (let n = 0; n < kept.length; n++) {
    const index = indexOfKey(keys[n] as number) // as many as kept
    const value = values[start + index] as number
    ascending[n] = Math.abs(value)
    kept[n] = 4 * index + (value < 0 ? NEGATIVE : 0)
  }
  checkLargest(ascending[kept.length - 1] as number, start, end)
  const { lowerCount, lower, upper } = twoLevels(ascending)
  writeHalf(bytes, at, toHalfBits(lower))
  writeHalf(bytes, at + 2, toHalfBits(upper))
  for (let n = lowerCount; n < kept.length; n++) kept[n] = (kept[n] as number) + UPPER
  kept.sort()
}

function decodeBlock(bytes: Uint8Array, at: number, values: Float32Array, start: number, end: number): void {
  const lower = readScale(bytes, at)
  const upper = readScale(bytes, at + 2)
  const kept = keptOf(end - start)
  const twoBits = at + HEADER + indexBytes(kept)
  if (hasLeftOver(bytes, at, kept))
    throw new CodecError('malformed', `Left-over bits of the block at byte ${at} are not 0.`)
  values.fill(0, start, end)
  let before = -1
  for (let n = 0; n < kept; n++) {
    const index = readIndex(bytes, at + HEADER, n)
    if (index <= before || start + index >= end) {
      throw new CodecError(
        'malformed',
        `Index ${index} of the block at byte ${at} is out of order or out of range.`,
      )
    }
    before = index
    const entry = (bytes[twoBits + (n >> 2)] as number) >>> (2 * (n & 3)) // the length has been checked
    const magnitude = entry & UPPER ? upper : lower
    values[start + index] = entry & NEGATIVE ? -magnitude : magnitude
  }
}

/** Index n of those at `at`: the even ones begin with a byte, the odd ones in the middle of one. */
function writeIndex(bytes: Uint8Array, at: number, n: number, index: number): void {
  const from = at + ((3 * n) >> 1)
  const shifted = n % 2 === 0 ? index : index << 4
  bytes[from] = (bytes[from] as number) | (shifted & 0xff) // the bytes are there, and 0 at first
  bytes[from + 1] = shifted >>> 8
}

function readIndex(bytes: Uint8Array, at: number, n: number): number {
  const from = at + ((3 * n) >> 1)
  const two = (bytes[from] as number) | ((bytes[from + 1] as number) << 8) // the length has been checked
  return n % 2 === 0 ? two & 0xfff : two >>> 4
}

function hasLeftOver(bytes: Uint8Array, at: number, kept: number): boolean {
  const indexEnd = at + HEADER + indexBytes(kept)
  const end = indexEnd + Math.ceil(kept / 4)
  const ofIndices = kept % 2 === 0 ? 0 : (bytes[indexEnd - 1] as number) >>> 4
  const ofValues = kept % 4 === 0 ? 0 : (bytes[end - 1] as number) >>> (2 * (kept % 4))
  return ofIndices !== 0 || ofValues !== 0
}

export const sparse = blockwise({
  name: 'sparse',
  blockSize: BLOCK,
  blockLength: (values) => HEADER + indexBytes(keptOf(values)) + Math.ceil(keptOf(values) / 4),
  encodeBlock,
  decodeBlock,
})
