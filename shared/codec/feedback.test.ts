import { describe, expect, it } from 'vitest'
import { CODEC_NAMES, CODECS } from './codec.ts'
import { encodeWithFeedback } from './feedback.ts'
import { randomFrom, valuesOf } from './testing.ts'

const { int4 } = CODECS

describe('error feedback', () => {
  it('[C9] sends later what it could not send', () => {
    // Steps of 1. A value of 0.25 is sent as 0, 0 (0.5, to even), 1 (0.75), 0 (0) and so on: 1 in 4 rounds.
    const residual = new Float32Array(2)
    const sent: number[] = []
    for (let round = 0; round < 8; round++) {
      const bytes = encodeWithFeedback(int4, Float32Array.of(7, 0.25), residual, 1)
      sent.push(int4.decode(bytes, 2)[1] as number)
    }
    expect(sent).toEqual([0, 0, 1, 0, 0, 0, 1, 0])
    expect(residual).toEqual(Float32Array.of(0, 0))
  })

  it('[C9] forgets with a decay below 1, and at once with 0', () => {
    const residual = Float32Array.of(0, 0.4)
    encodeWithFeedback(int4, Float32Array.of(7, 0.25), residual, 0.5)
    expect([...residual]).toEqual([0, Math.fround(Math.fround(0.4) * 0.5 + 0.25)]) // 0.45, sent as 0
    encodeWithFeedback(int4, Float32Array.of(7, 0.25), residual, 0)
    expect([...residual]).toEqual([0, 0.25])
  })

  it.each(CODEC_NAMES)(
    '[C9] the sums of what came in and of what %s decoded stay a residual apart',
    (name) => {
      const codec = CODECS[name]
      const size = 70_000 // more than is decoded at a time
      const residual = new Float32Array(size)
      const difference = new Float64Array(size)
      const uniform = randomFrom('feedback')
      for (let round = 0; round < 6; round++) {
        const values = valuesOf('uniform', size, uniform)
        const decoded = codec.decode(encodeWithFeedback(codec, values, residual, 1), size)
        for (let i = 0; i < size; i++) {
          difference[i] = (difference[i] as number) + (values[i] as number) - (decoded[i] as number)
        }
      }
      const apart = difference.reduce(
        (most, d, i) => Math.max(most, Math.abs(d - (residual[i] as number))),
        0,
      )
      expect(apart).toBeLessThan(1e-5)
    },
  )

  it('[C9] leaves the residual as it was when the values cannot be encoded', () => {
    const residual = Float32Array.of(1, 2)
    expect(() => encodeWithFeedback(int4, Float32Array.of(1, Number.NaN), residual, 1)).toThrow(
      expect.objectContaining({ code: 'not-finite' }),
    )
    expect(residual).toEqual(Float32Array.of(1, 2))
    expect(() => encodeWithFeedback(int4, Float32Array.of(1), residual, 1)).toThrow(RangeError)
  })
})
