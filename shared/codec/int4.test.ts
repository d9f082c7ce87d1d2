import { describe, expect, it } from 'vitest'
import { fromHalfBits } from './half.ts'
import { int4 } from './int4.ts'

const code = (name: string) => expect.objectContaining({ code: name })

describe('int4', () => {
  it('[C1] has the documented bytes', () => {
    // The scale is 7 = 0x4700; 7 and −1 = 0xf, low half first; 3 and nothing.
    const bytes = Uint8Array.of(0, 0x47, 0xf7, 0x03)
    expect(int4.encode(Float32Array.of(7, -1, 3))).toEqual(bytes)
    expect(int4.decode(bytes, 3)).toEqual(Float32Array.of(7, -1, 3))
    expect(int4.byteLength(256 * 1000 + 3)).toBe(130_004)
  })

  it('[C2] rounds to the nearest step, ties to even', () => {
    // Scale 1: 0.5 is 3.5 steps, so 4; −0.35 is −2.45, so −2 = 0xe.
    const bytes = int4.encode(Float32Array.of(1, 0.5, -0.35, 0))
    expect([...bytes]).toEqual([0, 0x3c, 0x47, 0x0e])
    expect(int4.decode(bytes, 4)).toEqual(Float32Array.of(1, 4 / 7, -2 / 7, 0))
  })

  it('[C5] keeps a subnormal scale by one step', () => {
    // 3.01 of 2^-24: scale 4 units, q = 5.27; 5 would decode to 2.86 units, whose scale is 3 units.
    expect([...int4.encode(Float32Array.of(-3.01 * 2 ** -24))]).toEqual([4, 0, 0x0a])
  })

  it('[C1] every scale and q is q·scale/7 rounded once', () => {
    const bytes = Uint8Array.of(0, 0, 0xa9, 0xcb, 0xed, 0x0f, 0x21, 0x43, 0x65, 0x07)
    let wrong = 0
    for (let half = 0; half < 0x7c00; half++) {
      bytes[0] = half & 0xff
      bytes[1] = half >> 8
      const scale = fromHalfBits(half)
      int4.decode(bytes, 15).forEach((value, i) => {
        if (value !== Math.fround(((i - 7) * scale) / 7)) wrong++
      })
    }
    expect(wrong).toBe(0)
  })

  it('[C7] refuses −8 in either half, a last half that is not 0, and a negative scale', () => {
    for (const byte of [0x08, 0x80, 0x88, 0x8f, 0xf8, 0x18, 0x81, 0x87]) {
      expect(() => int4.decode(Uint8Array.of(0, 0x3c, byte), 2)).toThrow(code('malformed'))
    }
    expect(() => int4.decode(Uint8Array.of(0, 0x3c, 0x10), 1)).toThrow(code('malformed'))
    expect(() => int4.decode(Uint8Array.of(0, 0x3c, 0x08), 1)).toThrow(code('malformed'))
    expect(() => int4.decode(Uint8Array.of(0, 0xbc, 0x01), 1)).toThrow(code('malformed'))
    expect(() => int4.decode(Uint8Array.of(0, 0x7c, 0x01), 1)).toThrow(code('not-finite'))
  })

  it('[C7] takes every byte without an 8 in it', () => {
    for (let byte = 0; byte < 256; byte++) {
      if (byte >> 4 === 8 || (byte & 15) === 8) continue
      expect(int4.decode(Uint8Array.of(0, 0x3c, byte), 2)).toHaveLength(2)
    }
  })
})
