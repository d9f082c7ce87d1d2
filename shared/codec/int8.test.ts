import { describe, expect, it } from 'vitest'
import { fromHalfBits } from './half.ts'
import { int8 } from './int8.ts'

const code = (name: string) => expect.objectContaining({ code: name })

describe('int8', () => {
  it('[C1] has the documented bytes', () => {
    // The scale is 1 = 0x3c00; −0.5·127 = −63.5, to even −64 = 0xc0; 0.25·127 = 31.75, 32.
    const bytes = Uint8Array.of(0, 0x3c, 127, 0xc0, 32)
    expect(int8.encode(Float32Array.of(1, -0.5, 0.25))).toEqual(bytes)
    expect(int8.decode(bytes, 3)).toEqual(Float32Array.of(1, -64 / 127, 32 / 127))
    expect(int8.byteLength(256 * 1000 + 3)).toBe(258_005)
  })

  it('[C2] rounds the scale up, so that nothing clips', () => {
    // 1 + 2^-11 lies between 0x3c00 and 0x3c01 = 1 + 2^-10; −1 is −126.88 steps of that.
    const bytes = int8.encode(Float32Array.of(1 + 2 ** -11, -1))
    expect([...bytes]).toEqual([1, 0x3c, 127, 0x81])
    expect(int8.decode(bytes, 2)).toEqual(Float32Array.of(1 + 2 ** -10, -1 - 2 ** -10))
  })

  it('[C5] keeps a subnormal scale by one step', () => {
    // 3.0001 of 2^-24: scale 4 units, q = 95.25; 95 would decode to 2.99 units, whose scale is 3 units.
    const bytes = int8.encode(Float32Array.of(3.0001 * 2 ** -24, -(2 ** -24)))
    expect([...bytes]).toEqual([4, 0, 96, 256 - 32])
    // Far under the smallest f16 all is zero.
    expect([...int8.encode(Float32Array.of(2 ** -40))]).toEqual([1, 0, 0])
  })

  it('[C1] every scale and q is q·scale/127 rounded once', () => {
    const bytes = new Uint8Array(257)
    bytes.set(
      Uint8Array.from({ length: 255 }, (_, i) => i - 127),
      2,
    )
    let wrong = 0
    for (let half = 0; half < 0x7c00; half++) {
      bytes[0] = half & 0xff
      bytes[1] = half >> 8
      const scale = fromHalfBits(half)
      int8.decode(bytes, 255).forEach((value, i) => {
        if (value !== Math.fround(((i - 127) * scale) / 127)) wrong++
      })
    }
    expect(wrong).toBe(0)
  })

  it('[C7] refuses −128 and a negative scale; [C4] an infinite one', () => {
    expect(() => int8.decode(Uint8Array.of(0, 0x3c, 0, 0x80), 2)).toThrow(code('malformed'))
    expect(() => int8.decode(Uint8Array.of(0, 0xbc, 0, 1), 2)).toThrow(code('malformed'))
    expect(() => int8.decode(Uint8Array.of(0, 0x7c, 0, 1), 2)).toThrow(code('not-finite'))
    expect(() => int8.decode(Uint8Array.of(1, 0xfe, 0, 1), 2)).toThrow(code('not-finite'))
  })
})
