import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CODEC_NAMES, CODECS } from '../codec/codec.ts'
import { CodecError } from '../codec/errors.ts'
import { randomFrom } from '../model/random.ts'
import { meanSlice, pieceOf, slicesOf } from './slices.ts'

const random = (length: number, seed: string) => {
  const uniform = randomFrom(seed)
  return Float32Array.from({ length }, () => (uniform() - 0.5) * 0.02)
}

describe('slices', () => {
  test('follow one another and are all of it, in values and bytes', () => {
    fc.assert(
      fc.property(
        fc.nat(100_000),
        fc.integer({ min: 1, max: 8 }),
        fc.constantFrom(...CODEC_NAMES),
        (n, k, codec) => {
          let [first, offset] = [0, 0]
          for (const slice of slicesOf(n, k, codec)) {
            expect(slice).toMatchObject({ first, offset })
            first += slice.count
            offset += slice.bytes
          }
          expect([first, offset]).toEqual([n, CODECS[codec].byteLength(n)])
        },
      ),
    )
  })

  test('are as large as one another, within a grain', () => {
    const counts = slicesOf(1_000_000, 7, 'int8').map(({ count }) => count)
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(4_096 + (1_000_000 % 4_096))
  })

  test.each(CODEC_NAMES)('of %s decode alone to what they are in the whole', (codec) => {
    const values = random(20_000, codec)
    const bytes = CODECS[codec].encode(values)
    const whole = CODECS[codec].decode(bytes, values.length)
    for (const { first, count, offset, bytes: length } of slicesOf(values.length, 3, codec)) {
      const alone = CODECS[codec].decode(bytes.subarray(offset, offset + length), count)
      expect(alone).toEqual(whole.slice(first, first + count))
    }
  })
})

describe('the mean of a slice', () => {
  test('in literal numbers: (1·1 + 3·5) / 4', () => {
    const encoded = (value: number) => CODECS.f32.encode(Float32Array.of(value))
    const mean = meanSlice('f32', 1, [
      { bytes: encoded(1), weight: 1 },
      { bytes: encoded(5), weight: 3 },
    ])
    expect(CODECS.f32.decode(mean, 1)).toEqual(Float32Array.of(4))
  })

  test.each(CODEC_NAMES.filter((codec) => codec !== 'sparse'))(
    'in %s is the weighted mean within the codec’s rounding',
    (codec) => {
      const { encode, decode } = CODECS[codec]
      const count = 9_000
      const members = [3, 1, 2].map((weight) => ({
        weight,
        bytes: encode(random(count, `${codec}${weight}`)),
      }))
      const exact = new Float32Array(count)
      for (const { bytes, weight } of members)
        decode(bytes, count).forEach((value, i) => {
          exact[i] = (exact[i] as number) + (value * weight) / 6
        })
      const step = { f32: 1e-9, f16: 1e-5, int8: 0.01 / 127, int4: 0.01 / 7 }[codec as 'f32']
      const mean = decode(meanSlice(codec, count, members), count)
      expect(Math.max(...mean.map((value, i) => Math.abs(value - (exact[i] as number))))).toBeLessThan(step)
    },
  )

  test('of bytes that are no slice throws a CodecError', () => {
    const bytes = new Uint8Array(CODECS.int8.byteLength(100)).fill(0xff)
    expect(() => meanSlice('int8', 100, [{ bytes, weight: 1 }])).toThrow(CodecError)
  })
})

test('pieces of a blob are all of it', () => {
  const pieces = [0, 1, 2].map((i) => pieceOf(10, 3, i))
  expect(pieces).toEqual([
    { first: 0, end: 3 },
    { first: 3, end: 6 },
    { first: 6, end: 10 },
  ])
})
