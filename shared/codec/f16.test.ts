import { describe, expect, it } from 'vitest'
import { f16 } from './f16.ts'

const code = (name: string) => expect.objectContaining({ code: name })

describe('f16', () => {
  it('[C1] has the documented bytes', () => {
    // Largest magnitude 1.5, so the scale is 2 = 0x4000; 0.75 = 0x3a00, −0.25 = 0xb400, 0 = 0.
    expect([...f16.encode(Float32Array.of(1.5, -0.5, 0))]).toEqual([0, 0x40, 0, 0x3a, 0, 0xb4, 0, 0])
    // 673 full blocks of 514 bytes, and 192 values more in 386.
    expect(f16.byteLength(172_480)).toBe(346_308)
  })

  it('[C1] keeps its scale within f16: 2^15 = 0x7800 at most, 2^-24 = 0x0001 at least', () => {
    // 65504 / 2^15 = 2 − 2^-10 = 0x3fff; 2^-30 / 2^-24 = 2^-6 = 0x2400.
    expect([...f16.encode(Float32Array.of(65_504))]).toEqual([0, 0x78, 0xff, 0x3f])
    expect([...f16.encode(Float32Array.of(-(2 ** -30)))]).toEqual([1, 0, 0, 0xa4])
  })

  it('[C2] loses at most 2^-11 of a value, or 2^-25 of the scale', () => {
    const values = Float32Array.of(1, 0.9999, 1e-3, 1e-5, 1e-6, 1e-7, 1e-8, 0)
    const decoded = f16.decode(f16.encode(values), values.length)
    values.forEach((v, i) => {
      const allowed = Math.max(v * 2 ** -11, 2 ** -25)
      expect(Math.abs((decoded[i] as number) - v)).toBeLessThanOrEqual(allowed)
    })
    expect(decoded[0]).toBe(1)
  })

  it('[C4] refuses an infinite scale, a negative one and an infinite value', () => {
    expect(() => f16.decode(Uint8Array.of(0, 0x7c, 0, 0), 1)).toThrow(code('not-finite'))
    expect(() => f16.decode(Uint8Array.of(0, 0x3c, 0, 0x7c), 1)).toThrow(code('not-finite'))
    expect(() => f16.decode(Uint8Array.of(0, 0x3c, 1, 0xfe), 1)).toThrow(code('not-finite'))
    expect(() => f16.decode(Uint8Array.of(0, 0xbc, 0, 0), 1)).toThrow(code('malformed'))
  })
})
