import { describe, expect, it } from 'vitest'
import { SpareTime } from './spareTime.ts'

describe('spare time', () => {
  it('V7 is a twentieth of the time in training between two leases', () => {
    const spare = new SpareTime(() => 0)
    expect(spare.allows(0, 0.1)).toBe(false)
    expect(spare.allows(100, 5)).toBe(true)
    expect(spare.allows(100, 5.1)).toBe(false)
    spare.took(4)
    expect(spare.allows(100, 1)).toBe(true)
    expect(spare.allows(100, 1.1)).toBe(false)
    expect(spare.allows(120, 2)).toBe(true)
  })

  it('V7 while waiting is whatever ends soon', () => {
    const spare = new SpareTime(() => 0)
    spare.took(1_000)
    expect(spare.allowsIdle(0, 2)).toBe(true)
    expect(spare.allowsIdle(0, 2.1)).toBe(false)
    expect(spare.allowsIdle(600, 30)).toBe(true)
    expect(spare.allowsIdle(600, 31)).toBe(false)
  })

  it('V7 while waiting grows with the time since the last inner step', () => {
    let now = 5_000
    const spare = new SpareTime(() => now)
    expect(spare.allowsIdle(0, 6)).toBe(false)
    now += 60_000
    expect(spare.allowsIdle(0, 6)).toBe(true)
    expect(spare.allowsIdle(0, 6.1)).toBe(false)
    expect(spare.allowsIdle(1, 6)).toBe(false) // it has trained meanwhile
    now += 60_000
    expect(spare.allowsIdle(1, 6)).toBe(true)
    expect(spare.allows(1, 6)).toBe(false)
  })

  it('V7 is none for a tab that does not know its speed', () => {
    const spare = new SpareTime(() => 0)
    expect(spare.allows(1e9, Number.POSITIVE_INFINITY)).toBe(false)
    expect(spare.allowsIdle(1e9, Number.POSITIVE_INFINITY)).toBe(false)
  })
})
