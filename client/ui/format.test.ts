import { describe, expect, it } from 'vitest'
import {
  ago,
  bytes,
  bytesOf,
  compact,
  count,
  countdown,
  duration,
  loss,
  percent,
  tokensPerSecond,
} from './format.ts'

describe('what is not known', () => {
  it('is a dash in every format, never 0', () => {
    for (const format of [compact, loss, percent, bytes, duration, countdown]) {
      expect(format(null)).toBe('–')
      expect(format(undefined)).toBe('–')
      expect(format(Number.NaN)).toBe('–')
    }
    expect(tokensPerSecond(null)).toBe('– tokens/s')
  })
})

describe('numbers', () => {
  it('have separators up to 9,999 and a letter from there', () => {
    expect([0, 1, 9_999, 10_000, 12_345_678].map(compact)).toEqual(['0', '1', '9,999', '10K', '12.3M'])
  })
  it('keep one decimal of a small percentage', () => {
    expect([0, 0.004, 0.5, 1].map(percent)).toEqual(['0%', '0.4%', '50%', '100%'])
  })
  it('agree with their noun', () => {
    expect([0, 1, 2].map((n) => count(n, 'volunteer'))).toEqual([
      '0 volunteers',
      '1 volunteer',
      '2 volunteers',
    ])
  })
})

describe('sizes', () => {
  it('use decimal units', () => {
    expect([0, 999, 1_000, 344_012, 1_250_000, 20e9].map(bytes)).toEqual([
      '0 B',
      '999 B',
      '1 kB',
      '344 kB',
      '1.3 MB',
      '20 GB',
    ])
  })
  it('share the unit of the total and never pass it', () => {
    expect(bytesOf(200_000, 1_344_000)).toBe('0.2 of 1.3 MB')
    expect(bytesOf(9_000_000, 1_344_000)).toBe('1.3 of 1.3 MB')
  })
})

describe('times', () => {
  it('show the two largest units', () => {
    expect([0, 400, 1_000, 61_000, 3_600_000, 90_061_000].map(duration)).toEqual([
      'under 1 s',
      'under 1 s',
      '1 s',
      '1 min 1 s',
      '1 h',
      '1 d 1 h',
    ])
  })
  it('count down to 0:00 and no further', () => {
    expect([3_725_000, 200_000, 999, -5_000].map(countdown)).toEqual(['1:02:05', '3:20', '0:01', '0:00'])
  })
  it('say how long ago in one unit', () => {
    const now = 1_000_000_000
    expect([0, 40_000, 200_000, 7_300_000].map((past) => ago(now - past, now))).toEqual([
      'now',
      '40 s ago',
      '3 min ago',
      '2 h ago',
    ])
  })
})
