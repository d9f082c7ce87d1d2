import { describe, expect, it } from 'vitest'
import { fromHalfBits, toHalfBits } from './half.ts'

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
