import { describe, expect, it } from 'vitest'
import { f32 } from './f32.ts'

const code = (name: string) => expect.objectContaining({ code: name })

describe('f32', () => {
  it('[C1] has the documented bytes: 1 is 0x3f800000, −2 is 0xc0000000', () => {
    const bytes = Uint8Array.of(0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0)
    expect(f32.encode(Float32Array.of(1, -2))).toEqual(bytes)
    expect(f32.decode(bytes, 2)).toEqual(Float32Array.of(1, -2))
  })

  it('[C2] carries all of f32, −0 and the largest number too', () => {
    const values = Float32Array.of(-0, 2 ** -149, -3.4028234663852886e38)
    expect(f32.decode(f32.encode(values), 3)).toEqual(values)
  })

  it('[C4] refuses an infinity and NaN', () => {
    expect(() => f32.decode(Uint8Array.of(0, 0, 0x80, 0xff), 1)).toThrow(code('not-finite'))
    expect(() => f32.decode(Uint8Array.of(0, 0, 0, 0, 1, 0, 0x80, 0x7f), 2)).toThrow(code('not-finite'))
  })
})
