import { expect, test } from 'vitest'
import { placing, schemeFor } from './scheme.ts'

const MIB = 2 ** 20
const places = (every: number, count: number, buckets = 4) => {
  const place = placing({ buckets, every, seed: 'x' })
  return Array.from({ length: count }, (_, document) => place(document))
}

test('half a percent is validation, more of a small text and no more than 16 MiB of a large one', () => {
  const every = (bytes: number) => schemeFor(bytes, 'x', false).every
  expect(every(MIB)).toBe(10)
  expect(every(10 * MIB)).toBe(40) // 256 KiB
  expect(every(1_000 * MIB)).toBe(200)
  expect(every(32_000 * MIB)).toBe(2_000)
  expect(schemeFor(MIB, 'x', true).every).toBe(0)
})

test('buckets are of about 32 MiB, 256 at most', () => {
  expect([1, 33, 10_000, 1e6].map((size) => schemeFor(size * MIB, 'x', false).buckets)).toEqual([
    1, 2, 256, 256,
  ])
})

test('each block of documents has one for validation, the first among its first ten', () => {
  const all = places(50, 1_000)
  for (let block = 0; block < 20; block++) {
    const here = all.slice(50 * block, 50 * block + 50)
    expect(here.filter((place) => place === 'validation').length).toBe(1)
  }
  expect(all.indexOf('validation')).toBeLessThan(10)
  expect(places(0, 100)).not.toContain('validation')
})

test('buckets get about the same, and a document always the same one', () => {
  const all = places(0, 4_000)
  for (let bucket = 0; bucket < 4; bucket++) {
    // 1,000 expected, with a standard deviation of 27.
    expect(Math.abs(all.filter((place) => place === bucket).length - 1_000)).toBeLessThan(110)
  }
  expect(places(0, 4_000)).toEqual(all)
})
