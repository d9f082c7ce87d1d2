import { describe, expect, it } from 'vitest'
import { carriedOver } from './overlap.ts'

describe('what is carried over to the new global weights', () => {
  it('is what was trained since the mark, and nothing else', () => {
    // Marked at 0.5 and −1; one has since moved by −0.25, the other not at all.
    const moved = carriedOver(Float32Array.of(2, 3), Float32Array.of(0.25, -1), Float32Array.of(0.5, -1))
    expect([...moved]).toEqual([1.75, 3])
  })

  it('is refused when lengths differ', () => {
    expect(() => carriedOver(new Float32Array(2), new Float32Array(2), new Float32Array(1))).toThrow(
      RangeError,
    )
  })
})
