/** A flat Float32Array as bytes, little endian on every machine: the format of weights and velocity blobs. */

const LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1

/** 4 bytes a value. */
export function floatsToBytes(values: Float32Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(values.length * 4)
  bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
  return LITTLE_ENDIAN ? bytes : swapped(bytes)
}

/** The inverse; copies, so any alignment will do. @throws RangeError when the length is no multiple of 4. */
export function bytesToFloats(bytes: Uint8Array): Float32Array<ArrayBuffer> {
  if (bytes.length % 4 !== 0) throw new RangeError(`${bytes.length} bytes are no whole number of floats.`)
  const copy = bytes.slice()
  return new Float32Array((LITTLE_ENDIAN ? copy : swapped(copy)).buffer)
}

function swapped(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  for (let i = 0; i < bytes.length; i += 4) bytes.subarray(i, i + 4).reverse()
  return bytes
}
