/** What the blockwise codecs have in common: the way through the blocks. What is in a block is each codec's own. */
import type { Codec, CodecName } from './codec.ts'
import { CodecError } from './errors.ts'

export interface BlockFormat {
  readonly name: CodecName
  readonly blockSize: number
  /** Bytes of one block of `values` values, 1 to blockSize. */
  blockLength(values: number): number
  /** Writes the values from `start` to `end` at bytes[at]. The bytes are zeros before. `bits` are those of the values. */
  encodeBlock(block: EncodedBlock): void
  /** Reads the block at bytes[at] into the values from `start` to `end`. @throws CodecError */
  decodeBlock(bytes: Uint8Array, at: number, values: Float32Array, start: number, end: number): void
}

export interface EncodedBlock {
  readonly values: Float32Array
  readonly bits: Uint32Array
  start: number
  end: number
  readonly bytes: Uint8Array
  /** The same memory as int8. */
  readonly signed: Int8Array
  at: number
}

export function blockwise({ name, blockSize, blockLength, encodeBlock, decodeBlock }: BlockFormat): Codec {
  const fullLength = blockLength(blockSize)
  const byteLength = (parameters: number) => {
    const tail = parameters % blockSize
    return ((parameters - tail) / blockSize) * fullLength + (tail === 0 ? 0 : blockLength(tail))
  }

  function encode(values: Float32Array): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(byteLength(values.length))
    const signed = new Int8Array(bytes.buffer)
    const block = { values, bits: bitsOf(values), start: 0, end: 0, bytes, signed, at: 0 }
    for (; block.start < values.length; block.start += blockSize, block.at += fullLength) {
      block.end = Math.min(block.start + blockSize, values.length)
      encodeBlock(block)
    }
    return bytes
  }

  function decodeInto(bytes: Uint8Array, values: Float32Array): void {
    checkLength(bytes, byteLength(values.length))
    for (let start = 0, at = 0; start < values.length; start += blockSize, at += fullLength) {
      decodeBlock(bytes, at, values, start, Math.min(start + blockSize, values.length))
    }
  }

  function decode(bytes: Uint8Array, parameters: number): Float32Array<ArrayBuffer> {
    checkLength(bytes, byteLength(parameters)) // before so much is allocated
    const values = new Float32Array(parameters)
    decodeInto(bytes, values)
    return values
  }

  return { name, blockSize, byteLength, encode, decode, decodeInto }
}

/** @throws CodecError `wrong-length` */
export function checkLength(bytes: Uint8Array, length: number): void {
  if (bytes.length === length) return
  throw new CodecError('wrong-length', `${bytes.length} bytes instead of ${length}.`)
}

/** The same memory. Without their sign, bits of floats are ordered as magnitudes are, NaN and infinities above all. */
export const bitsOf = (values: Float32Array): Uint32Array =>
  new Uint32Array(values.buffer, values.byteOffset, values.length)
