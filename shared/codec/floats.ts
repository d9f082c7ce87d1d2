/** A flat Float32Array as bytes, little endian on every machine: the format of weights and velocity blobs. */

const LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1

/** 4 bytes a value. */
export function floatsToBytes(values: Float32Array, littleEndian = LITTLE_ENDIAN): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(values.length * 4)
  bytes.set(memoryOf(values))
  return littleEndian ? bytes : swapped(bytes)
}

/** The inverse; copies, so any alignment will do. @throws RangeError when the length is no multiple of 4. */
export function bytesToFloats(bytes: Uint8Array): Float32Array<ArrayBuffer> {
  if (bytes.length % 4 !== 0) throw new RangeError(`${bytes.length} bytes are no whole number of floats.`)
  const values = new Float32Array(bytes.length / 4)
  readFloats(bytes, values)
  return values
}

/** The inverse into `values`, of which there are as many as bytes / 4. */
export function readFloats(bytes: Uint8Array, values: Float32Array, littleEndian = LITTLE_ENDIAN): void {
  const memory = memoryOf(values)
  memory.set(bytes)
  if (!littleEndian) swapped(memory)
}

const memoryOf = (values: Float32Array) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength)

function swapped<Bytes extends Uint8Array>(bytes: Bytes): Bytes {
  for (let i = 0; i < bytes.length; i += 4) bytes.subarray(i, i + 4).reverse()
  return bytes
}
