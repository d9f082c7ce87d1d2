import { describe, expect, it } from 'vitest'
import { estimate, studentT } from './statistics.ts'

describe('Student’s t', () => {
  // NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2: the column 0.975, which is 95 % on two sides.
  it.each([
    [1, 12.706],
    [2, 4.303],
    [3, 3.182],
    [4, 2.776],
    [5, 2.571],
    [9, 2.262],
    [10, 2.228],
    [30, 2.042],
    [100, 1.984],
  ])('with %i degrees of freedom is %f', (freedom, wanted) => {
    expect(studentT(freedom)).toBeCloseTo(wanted, 3)
  })

  // The same table's column 0.995.
  it.each([
    [3, 5.841],
    [8, 3.355],
  ])('at 99 %% with %i degrees of freedom is %f', (freedom, wanted) => {
    expect(studentT(freedom, 0.99)).toBeCloseTo(wanted, 3)
  })
})

describe('an estimate', () => {
  it('of 1, 2, 3, 4 is 2.5 ± 3.182·√(5/3)/√4 = 2.5 ± 2.054', () => {
    const { mean, interval } = estimate([1, 2, 3, 4])
    expect(mean).toBe(2.5)
    expect(interval?.[0]).toBeCloseTo(0.446, 3)
    expect(interval?.[1]).toBeCloseTo(4.554, 3)
  })

  it('of one value has no interval, and of none there is none', () => {
    expect(estimate([7])).toEqual({ mean: 7, interval: null })
    expect(() => estimate([])).toThrow(RangeError)
  })
})
