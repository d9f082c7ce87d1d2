/**
 * Floats as little-endian bytes and back, without a copy where the machine is little endian, which is all but
 * everywhere: the arrays of this folder are too large to hold twice. To own the result, use shared/codec/floats.ts.
 */
import { bytesToFloats, floatsToBytes } from '../../shared/codec/floats.ts'

const LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1

/** 4 bytes a value; they may be the values' own memory, so read them before the values change. */
export function bytesOf(values: Float32Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  if (!LITTLE_ENDIAN) return floatsToBytes(values)
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
}

/** The inverse; takes the bytes over: do not use them afterwards. @throws RangeError when 4 does not divide the length. */
export function floatsOf(bytes: Uint8Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  const inPlace = LITTLE_ENDIAN && bytes.byteOffset % 4 === 0 && bytes.length % 4 === 0
  return inPlace ? new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4) : bytesToFloats(bytes)
}
