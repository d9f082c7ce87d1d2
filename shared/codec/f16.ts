/**
 * Half precision with one scale: 2 bytes a value. Little endian on the wire whatever the machine:
 *
 *   bytes 0..3   f32 scale: the power of two at or above the largest magnitude; 0 when all values are 0
 *   bytes 4..    n × binary16: value / scale, rounded to nearest, ties to even
 *
 * A power of two makes the division exact, so a value loses only what binary16 loses. Relative to the largest
 * value, normals reach down to 2^-14 and subnormals to 2^-24.
 */
import type { Codec } from './codec.ts'
import { CodecError } from './errors.ts'
import { fromHalfBits, toHalfBits } from './half.ts'

const HEADER = 4
/** Above this, rounding to a half of the largest scale would leave f32: (2 − 2^-10)·2^127. */
const LARGEST = (2 - 2 ** -10) * 2 ** 127
const byteLength = (parameters: number) => HEADER + 2 * parameters

export const f16: Codec = {
  name: 'f16',
  byteLength,

  encode(values) {
    const scale = scaleOf(values)
    const bytes = new Uint8Array(byteLength(values.length))
    const view = new DataView(bytes.buffer)
    view.setFloat32(0, scale, true)
    if (scale === 0) return bytes
    for (let i = 0; i < values.length; i++) {
      view.setUint16(HEADER + 2 * i, toHalfBits((values[i] as number) / scale), true) // i < length
    }
    return bytes
  },

  decode(bytes, parameters) {
    if (bytes.length !== byteLength(parameters)) {
      throw new CodecError('wrong-length', `${bytes.length} bytes instead of ${byteLength(parameters)}.`)
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const scale = view.getFloat32(0, true)
    if (!Number.isFinite(scale)) throw new CodecError('not-finite', 'The scale is not a finite number.')
    const values = new Float32Array(parameters)
    for (let i = 0; i < parameters; i++) {
      values[i] = scale * (HALVES[view.getUint16(HEADER + 2 * i, true)] as number) // the table has all 65,536
      if (!Number.isFinite(values[i])) {
        throw new CodecError('not-finite', `Value ${i} is not a finite number.`)
      }
    }
    return values
  },
}

/** Every half's value: a table is several times faster than arithmetic. */
const HALVES = Float32Array.from({ length: 65_536 }, (_, half) => fromHalfBits(half))

/** The smallest power of two not below the largest magnitude, kept within what f32 can hold and divide by. */
function scaleOf(values: Float32Array): number {
  let largest = 0
  for (let i = 0; i < values.length; i++) {
    const magnitude = Math.abs(values[i] as number) // i < length
    if (!(magnitude <= LARGEST))
      throw new CodecError('not-finite', `Value ${i} is not finite or is above ${LARGEST}.`)
    if (magnitude > largest) largest = magnitude
  }
  if (largest === 0) return 0
  let scale = 1
  while (scale < largest) scale *= 2
  while (scale / 2 >= largest) scale /= 2
  return Math.min(scale, 2 ** 127)
}
