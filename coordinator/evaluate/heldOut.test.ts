import { describe, expect, it } from 'vitest'
import { byteCount, evenly } from './heldOut.ts'

// Six sequences of one token and its follower: 10→11, 20→21, …
const six = Uint16Array.of(10, 11, 20, 21, 30, 31, 40, 41, 50, 51, 60, 61)

describe('held-out text', () => {
  it('is spread evenly over the validation sequences', () => {
    expect([...evenly(six, 2, 3)]).toEqual([10, 11, 30, 31, 50, 51])
    expect([...evenly(six, 2, 4)]).toEqual([10, 11, 20, 21, 40, 41, 50, 51])
  })

  it('is all there is when less is there than wanted, and never nothing', () => {
    expect(evenly(six, 2, 1_000)).toEqual(six)
    expect([...evenly(six, 2, 0)]).toEqual([10, 11])
  })

  it('counts the bytes of predicted tokens only', () => {
    expect(byteCount(six, 2, { byteLength: (id) => id })).toBe(11 + 21 + 31 + 41 + 51 + 61)
  })
})
