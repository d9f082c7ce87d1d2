import { describe, expect, it } from 'vitest'
import { SpareTime } from './spareTime.ts'

describe('spare time', () => {
  it('V7 is a twentieth of the time in training between two leases', () => {
    const spare = new SpareTime()
    expect(spare.allows(0, 0.1)).toBe(false)
    expect(spare.allows(100, 5)).toBe(true)
    expect(spare.allows(100, 5.1)).toBe(false)
    spare.took(4)
    expect(spare.allows(100, 1)).toBe(true)
    expect(spare.allows(100, 1.1)).toBe(false)
    expect(spare.allows(120, 2)).toBe(true)
  })

  it('V7 while waiting is whatever ends soon', () => {
    const spare = new SpareTime()
    spare.took(1_000)
    expect(spare.allowsIdle(0, 2, 0)).toBe(true)
    expect(spare.allowsIdle(0, 2.1, 0)).toBe(false)
    expect(spare.allowsIdle(600, 30, 0)).toBe(true)
    expect(spare.allowsIdle(600, 31, 0)).toBe(false)
  })

  it('V7 while waiting grows with the time since the last inner step', () => {
    const spare = new SpareTime()
    expect(spare.allowsIdle(0, 6, 0)).toBe(false)
    expect(spare.allowsIdle(0, 6, 60)).toBe(true)
    expect(spare.allowsIdle(0, 6.1, 60)).toBe(false)
    expect(spare.allowsIdle(1, 6, 0)).toBe(false)
    expect(spare.allowsIdle(1, 6, 60)).toBe(true)
    expect(spare.allows(1, 6)).toBe(false)
  })

  it('V7 is none for a tab that does not know its speed', () => {
    const spare = new SpareTime()
    expect(spare.allows(1e9, Number.POSITIVE_INFINITY)).toBe(false)
    expect(spare.allowsIdle(1e9, Number.POSITIVE_INFINITY, 1e9)).toBe(false)
  })
})
