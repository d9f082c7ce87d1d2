/** What every codec has to keep: RULES.md. The bytes of each, worked by hand, are in its own test. */
import { describe, expect, it } from 'vitest'
import { CODEC_NAMES, CODECS, type CodecName } from './codec.ts'
import { blockByFormat, KIND_NAMES, largestMagnitude, randomFrom, valuesOf } from './testing.ts'

const SIZES = [0, 1, 2, 63, 64, 65, 255, 256, 257, 511, 4095, 4096, 4097, 8500]
const CASES = KIND_NAMES.flatMap((kind) => SIZES.map((size) => ({ kind, size })))

/** Largest error that C2 allows for a value of a block whose largest magnitude is `largest`. */
function allowedError(codec: CodecName, value: number, largest: number): number {
  const scale = Math.max(largest * (1 + 2 ** -10), largest + (largest > 0 ? 2 ** -24 : 0))
  // A value is decoded to the nearest f32; under 2^-14 the largest may move twice as far.
  const steps = scale * (largest < 2 ** -14 && value === largest ? 2 : 1) + scale * 2 ** -16
  switch (codec) {
    case 'f32':
      return 0
    case 'f16':
      return Math.max(value * 2 ** -11, Math.max(largest, 2 ** -24) * 2 ** -24)
    case 'int8':
      return steps / 254
    case 'int4':
      return steps / 14
    case 'sparse':
      return largest * (1 + 2 ** -11) + 2 ** -25
  }
}

const code = (name: string) => expect.objectContaining({ name: 'CodecError', code: name })

describe.each(CODEC_NAMES)('%s', (name) => {
  const { blockSize, byteLength, encode, decode, decodeInto } = CODECS[name]
  const roundTrip = (values: Float32Array) => decode(encode(values), values.length)

  it('is listed under its name', () => {
    expect(CODECS[name].name).toBe(name)
  })

  it('[C1] every full block has as many bytes, and nothing is around them', () => {
    expect(byteLength(0)).toBe(0)
    for (const size of SIZES) {
      expect(encode(new Float32Array(size))).toHaveLength(byteLength(size))
      expect(byteLength(7 * blockSize + size)).toBe(7 * byteLength(blockSize) + byteLength(size))
    }
  })

  it.each(CASES)('[C1] means what its format says: $size values, $kind', ({ kind, size }) => {
    const values = valuesOf(kind, size, randomFrom(`${kind} ${size}`))
    const bytes = encode(values)
    const decoded = decode(bytes, size)
    for (let start = 0; start < size; start += 4096) {
      const end = Math.min(start + 4096, size)
      const expected: number[] = []
      for (let at = start; at < end; at += blockSize) {
        const count = Math.min(blockSize, end - at)
        expected.push(...blockByFormat(name, bytes.subarray(byteLength(at), byteLength(at + count)), count))
      }
      const part = Array.from(decoded.subarray(start, end))
      expect(part.findIndex((value, i) => value !== expected[i])).toBe(-1)
    }
  })

  it.each(CASES)('[C2] [C5] loses no more than its rounding, once: $size values, $kind', ({ kind, size }) => {
    const values = valuesOf(kind, size, randomFrom(`${kind} ${size}`))
    const before = values.slice()
    const decoded = roundTrip(values)
    expect(values).toEqual(before)
    for (let start = 0; start < size; start += blockSize) {
      const block = values.subarray(start, start + blockSize)
      const largest = largestMagnitude(block)
      const worst = block.findIndex((value, i) => {
        const error = Math.abs((decoded[start + i] as number) - value)
        return !(error <= allowedError(name, Math.abs(value), largest))
      })
      expect(worst).toBe(-1)
    }
    const again = roundTrip(decoded)
    expect(again.findIndex((value, i) => value !== decoded[i])).toBe(-1)
  })

  it('[C2] zeros are zero bytes', () => {
    expect(encode(new Float32Array(5000)).every((byte) => byte === 0)).toBe(name !== 'sparse')
    expect(roundTrip(new Float32Array(5000)).every((value) => value === 0)).toBe(true)
    expect(roundTrip(Float32Array.of(-0, 0)).every((value) => value === 0)).toBe(true)
  })

  it('[C3] refuses NaN and infinities wherever they stand, and what f16 cannot hold', () => {
    const bad = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
    if (name !== 'f32') bad.push(65_505, -3.4e38)
    for (const value of bad) {
      for (const at of [0, 255, 256, 4999]) {
        const values = new Float32Array(5000).fill(1)
        values[at] = value
        expect(() => encode(values)).toThrow(code('not-finite'))
      }
    }
    expect(roundTrip(Float32Array.of(-65_504))).toEqual(Float32Array.of(-65_504))
  })

  it('[C4] refuses a byte more, a byte less, and another number of values', () => {
    const bytes = encode(new Float32Array(300).fill(1))
    const longer = Uint8Array.of(...bytes, 0)
    for (const wrong of [bytes.subarray(1), longer, new Uint8Array(0)]) {
      expect(() => decode(wrong, 300)).toThrow(code('wrong-length'))
      expect(() => decodeInto(wrong, new Float32Array(300))).toThrow(code('wrong-length'))
    }
    expect(() => decode(bytes, 2 ** 31)).toThrow(code('wrong-length')) // and allocates nothing
  })

  it('[C6] a slice is a slice of the bytes', () => {
    const values = valuesOf('of every size', 20_000, randomFrom('slices'))
    const bytes = encode(values)
    const whole = decode(bytes, values.length)
    const last = Math.floor(values.length / blockSize) * blockSize
    for (const [start, end] of [
      [0, blockSize],
      [blockSize, 3 * blockSize],
      [2 * blockSize, values.length],
      [last, values.length],
    ] as const) {
      const slice = bytes.subarray(byteLength(start), byteLength(end))
      expect(decode(slice, end - start)).toEqual(whole.slice(start, end))
      expect(encode(values.subarray(start, end))).toEqual(slice.slice())
    }
  })

  it('[C6] decodes into the middle of an array, shared or not, and touches nothing else', () => {
    const values = valuesOf('uniform', 1000, randomFrom('middle'))
    const bytes = encode(values)
    const moved = new Uint8Array(bytes.length + 1)
    moved.set(bytes, 1)
    const decoded = decode(bytes, 1000)
    for (const buffer of [new ArrayBuffer(4020), new SharedArrayBuffer(4020)]) {
      const target = new Float32Array(buffer).fill(7)
      decodeInto(moved.subarray(1), target.subarray(3, 1003))
      expect([...target]).toEqual([7, 7, 7, ...decoded, 7, 7])
    }
  })
})
