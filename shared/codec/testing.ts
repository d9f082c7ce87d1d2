/** For the tests of codecs: values of all kinds, and the formats once more, as slowly and literally as possible. */
import { randomFrom } from '../model/random.ts'
import type { CodecName } from './codec.ts'
import { fromHalfBits } from './half.ts'

export type Uniform = () => number
export { randomFrom }

const KINDS: Record<string, (uniform: Uniform, i: number) => number> = {
  zeros: () => 0,
  uniform: (uniform) => 2 * uniform() - 1,
  'of every size': (uniform) => (2 * uniform() - 1) * 2 ** (15 - Math.floor(60 * uniform())),
  tiny: (uniform) => (2 * uniform() - 1) * 2 ** -Math.floor(14 + 13 * uniform()),
  'under f16': (uniform) => (2 * uniform() - 1) * 2 ** -40,
  large: (uniform) => (uniform() < 0.5 ? -65_504 : 65_504 * uniform()),
  equal: (uniform) => (uniform() < 0.5 ? -0.3 : 0.3),
  'mostly zeros': (uniform) => (uniform() < 0.99 ? 0 : 2 * uniform() - 1),
  ascending: (_, i) => i / 4096,
}
export const KIND_NAMES = Object.keys(KINDS)

export function valuesOf(kind: string, length: number, uniform: Uniform): Float32Array<ArrayBuffer> {
  const value = KINDS[kind] as (uniform: Uniform, i: number) => number // one of KIND_NAMES
  return Float32Array.from({ length }, (_, i) => value(uniform, i))
}

export const largestMagnitude = (values: Float32Array): number =>
  values.reduce((most, x) => Math.max(most, Math.abs(x)), 0)

/** What one block's bytes say, read bit by bit as RULES.md and the codecs' files have it. */
export function blockByFormat(codec: CodecName, bytes: Uint8Array, count: number): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const half = (at: number) => fromHalfBits(view.getUint16(at, true))
  const each = (value: (i: number) => number) =>
    Array.from({ length: count }, (_, i) => Math.fround(value(i)))
  switch (codec) {
    case 'f32':
      return each((i) => view.getFloat32(4 * i, true))
    case 'f16':
      return each((i) => half(0) * half(2 + 2 * i))
    case 'int8':
      return each((i) => (view.getInt8(2 + i) * half(0)) / 127)
    case 'int4':
      return each((i) => (signed(bitsAt(bytes, 16 + 4 * i, 4)) * half(0)) / 7)
    case 'sparse': {
      const kept = Math.ceil(count / 64)
      const values = each(() => 0)
      const twoBits = 8 * (4 + Math.ceil((12 * kept) / 8))
      for (let n = 0; n < kept; n++) {
        const magnitude = half(bitsAt(bytes, twoBits + 2 * n, 1) === 1 ? 2 : 0)
        const sign = bitsAt(bytes, twoBits + 2 * n + 1, 1) === 1 ? -1 : 1
        values[bitsAt(bytes, 32 + 12 * n, 12)] = sign * magnitude
      }
      return values
    }
  }
}

const signed = (nibble: number) => (nibble < 8 ? nibble : nibble - 16)

/** Bits fill bytes from the lowest up. */
function bitsAt(bytes: Uint8Array, first: number, count: number): number {
  let value = 0
  for (let n = 0; n < count; n++) {
    const bit = first + n
    value += (((bytes[bit >> 3] as number) >> (bit & 7)) & 1) * 2 ** n
  }
  return value
}
