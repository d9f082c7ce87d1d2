import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CODECS } from './codec.ts'
import { CodecError } from './errors.ts'
import { fromHalfBits, toHalfBits } from './half.ts'

const { f16 } = CODECS
/** What the codec promises to carry: all of f32 but the last half-precision step under 2^128. */
const carried = (lengths: { minLength?: number; maxLength: number }) =>
  fc.float32Array({ noNaN: true, min: Math.fround(-3.4e38), max: Math.fround(3.4e38), ...lengths })

describe('binary16', () => {
  // Literal patterns from the IEEE 754 tables.
  it.each([
    [0, 0x0000],
    [-0, 0x8000],
    [1, 0x3c00],
    [-2, 0xc000],
    [65504, 0x7bff],
    [65519.99, 0x7bff],
    [65520, 0x7c00],
    [2 ** -14, 0x0400],
    [2 ** -24, 0x0001],
    [2 ** -25, 0x0000],
    [2 ** -25 * 1.5, 0x0001],
    [3 * 2 ** -25, 0x0002],
    [1 / 3, 0x3555],
    [1 + 2 ** -11, 0x3c00],
    [1 + 3 * 2 ** -11, 0x3c02],
    [Number.POSITIVE_INFINITY, 0x7c00],
  ])('%d is 0x%s', (value, half) => {
    expect(toHalfBits(value)).toBe(half)
  })

  it('every finite half survives the trip through its value', () => {
    for (let half = 0; half < 65_536; half++) {
      if ((half & 0x7c00) === 0x7c00) continue
      expect(toHalfBits(fromHalfBits(half))).toBe(half)
    }
  })
})

describe('f16', () => {
  it('[C1] has the documented bytes', () => {
    // Largest magnitude 1.5, so the scale is 2 = 0x40000000; 0.75 = 0x3a00, −0.25 = 0xb400, 0 = 0.
    expect([...f16.encode(Float32Array.of(1.5, -0.5, 0))]).toEqual([0, 0, 0, 0x40, 0, 0x3a, 0, 0xb4, 0, 0])
    expect(f16.byteLength(172_480)).toBe(344_964)
  })

  it('[C2] loses at most 2^-11 of a value, or 2^-25 of the largest', () => {
    const values = carried({ minLength: 1, maxLength: 200 })
    fc.assert(
      fc.property(values, (x) => {
        const largest = x.reduce((most, v) => Math.max(most, Math.abs(v)), 0)
        const y = f16.decode(f16.encode(x), x.length)
        // Under f32's own smallest normal, the product with the scale rounds once more, by 2^-150 at most.
        x.forEach((v, i) => {
          const allowed = Math.max(Math.abs(v) * 2 ** -11, largest * 2 ** -24) + 2 ** -149
          expect(Math.abs((y[i] as number) - v)).toBeLessThanOrEqual(allowed)
        })
      }),
      { numRuns: 500 },
    )
  })

  it('[C3] refuses to encode NaN and infinities', () => {
    for (const bad of [3.4025e38, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      expect(() => f16.encode(Float32Array.of(1, bad))).toThrow(CodecError)
    }
  })

  it('[C4] refuses a wrong length, an infinite scale and an infinite value', () => {
    const good = f16.encode(Float32Array.of(1, 2))
    expect(() => f16.decode(good.subarray(1), 2)).toThrow(expect.objectContaining({ code: 'wrong-length' }))
    expect(() => f16.decode(good, 3)).toThrow(expect.objectContaining({ code: 'wrong-length' }))
    expect(() => f16.decode(Uint8Array.of(0, 0, 0x80, 0x7f, 0, 0), 1)).toThrow(
      expect.objectContaining({ code: 'not-finite' }),
    )
    expect(() => f16.decode(Uint8Array.of(0, 0, 0x80, 0x3f, 0, 0x7c), 1)).toThrow(
      expect.objectContaining({ code: 'not-finite' }),
    )
    // Finite scale times finite half may overflow f32.
    expect(() => f16.decode(Uint8Array.of(0, 0, 0, 0x7f, 0, 0x7b), 1)).toThrow(
      expect.objectContaining({ code: 'not-finite' }),
    )
  })

  it('[C4] gives finite numbers or a CodecError for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(32), (bytes, parameters) => {
        try {
          expect(f16.decode(bytes, parameters).every(Number.isFinite)).toBe(true)
        } catch (error) {
          expect(error).toBeInstanceOf(CodecError)
        }
      }),
      { numRuns: 20_000 },
    )
  })

  it('[C5] encoding what was decoded changes nothing', () => {
    fc.assert(
      fc.property(carried({ maxLength: 64 }), (x) => {
        const once = f16.decode(f16.encode(x), x.length)
        expect(f16.decode(f16.encode(once), x.length)).toEqual(once)
      }),
    )
  })
})
