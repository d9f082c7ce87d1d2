/** The values as they are: f32, little endian, 4 bytes each. A block is one value. */
import { bitsOf, checkLength } from './blocks.ts'
import type { Codec } from './codec.ts'
import { CodecError } from './errors.ts'
import { floatsToBytes, readFloats } from './floats.ts'

const byteLength = (parameters: number) => 4 * parameters

function encode(values: Float32Array): Uint8Array<ArrayBuffer> {
  checkFinite(values)
  return floatsToBytes(values)
}

function decodeInto(bytes: Uint8Array, values: Float32Array): void {
  checkLength(bytes, byteLength(values.length))
  readFloats(bytes, values)
  checkFinite(values)
}

function decode(bytes: Uint8Array, parameters: number): Float32Array<ArrayBuffer> {
  checkLength(bytes, byteLength(parameters))
  const values = new Float32Array(parameters)
  decodeInto(bytes, values)
  return values
}

function checkFinite(values: Float32Array): void {
  const bits = bitsOf(values)
  for (let i = 0; i < bits.length; i++) {
    // All ones in the exponent; i < length.
    if (((bits[i] as number) & 0x7f800000) === 0x7f800000) {
      throw new CodecError('not-finite', `Value ${i} is no finite number.`)
    }
  }
}

export const f32: Codec = { name: 'f32', blockSize: 1, byteLength, encode, decode, decodeInto }
