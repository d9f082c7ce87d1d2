import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { gatherTokens, type SequenceAddress, sequencesInEpoch, sequencesOf } from './epoch.ts'
import { permutation } from './permutation.ts'

const manifestOf = (...sizes: number[]) => ({ training: sizes.map((sequences) => ({ sequences })) })
const nameOf = ({ shard, index }: SequenceAddress) => `${shard}:${index}`
const wholeEpoch = (manifest: ReturnType<typeof manifestOf>, seed: string, epoch: number) =>
  sequencesOf(manifest, seed, { epoch, first: 0, count: sequencesInEpoch(manifest) }).map(nameOf)

const sizes = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 8 })

test('sequencesInEpoch counts the training shards’ sequences', () => {
  expect(sequencesInEpoch(manifestOf(3, 4, 1))).toBe(8)
})

describe('sequencesOf', () => {
  test('the ranges of an epoch have every sequence exactly once, however it is cut', () => {
    const cuts = fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 20 })
    fc.assert(
      fc.property(sizes, cuts, fc.string(), fc.nat(5), (sizes, cuts, seed, epoch) => {
        const manifest = manifestOf(...sizes)
        const total = sequencesInEpoch(manifest)
        const seen: string[] = []
        for (const cut of [...cuts, total]) {
          const count = Math.min(cut, total - seen.length)
          if (count === 0) break
          seen.push(...sequencesOf(manifest, seed, { epoch, first: seen.length, count }).map(nameOf))
        }
        expect(seen).toEqual(wholeEpoch(manifest, seed, epoch))
        const all = sizes.flatMap((size, shard) =>
          Array.from({ length: size }, (_, index) => `${shard}:${index}`),
        )
        expect(seen.toSorted()).toEqual(all.toSorted())
      }),
    )
  })

  test('a range that fits in one shard touches two at most', () => {
    const manifest = manifestOf(50, 50, 50, 50)
    for (let first = 0; first <= 150; first++) {
      const range = sequencesOf(manifest, 'x', { epoch: 0, first, count: 50 })
      expect(new Set(range.map(({ shard }) => shard)).size).toBeLessThanOrEqual(2)
    }
  })

  test('the order is this one, in every browser and for ever', () => {
    // From the same generators written in Python.
    const orders = [0, 1].map((epoch) => wholeEpoch(manifestOf(3, 2, 4), 'potluck', epoch).join(' '))
    expect(orders).toEqual(['2:2 2:3 2:0 2:1 1:0 1:1 0:0 0:1 0:2', '0:0 0:2 0:1 1:1 1:0 2:2 2:0 2:3 2:1'])
  })

  test('another epoch and another seed have another order', () => {
    const manifest = manifestOf(40, 40, 40)
    const orders = [
      wholeEpoch(manifest, 'a', 0),
      wholeEpoch(manifest, 'a', 1),
      wholeEpoch(manifest, 'b', 0),
      wholeEpoch(manifest, 'a,0', 1),
    ]
    expect(new Set(orders.map(String)).size).toBe(orders.length)
    expect(new Set(orders.map((order) => String(order.toSorted()))).size).toBe(1)
  })

  test.each([
    ['beyond the end', { epoch: 0, first: 6, count: 3 }],
    ['empty', { epoch: 0, first: 0, count: 0 }],
    ['before the start', { epoch: 0, first: -1, count: 2 }],
    ['of half a sequence', { epoch: 0, first: 0.5, count: 1 }],
    ['of no epoch', { epoch: -1, first: 0, count: 1 }],
  ])('refuses a range %s', (_, range) => {
    expect(() => sequencesOf(manifestOf(4, 4), 'x', range)).toThrow(
      expect.objectContaining({ code: 'bad-request' }),
    )
  })
})

describe('permutation', () => {
  test('has every number once', () => {
    fc.assert(
      fc.property(fc.nat(200), fc.string(), (count, seed) => {
        expect([...permutation(count, seed)].toSorted((a, b) => a - b)).toEqual(
          Array.from({ length: count }, (_, index) => index),
        )
      }),
    )
  })

  test('every order of three is about as likely', () => {
    const seen = new Map<string, number>()
    for (let seed = 0; seed < 6_000; seed++) {
      const order = permutation(3, `${seed}`).join()
      seen.set(order, (seen.get(order) ?? 0) + 1)
    }
    // 1,000 each are expected; the standard deviation is 29, and the seeds never change.
    expect(seen.size).toBe(6)
    for (const count of seen.values()) expect(Math.abs(count - 1_000)).toBeLessThan(150)
  })
})

describe('gatherTokens', () => {
  const shards = new Map([
    [0, Uint16Array.of(10, 11, 12, 13, 14, 15)],
    [2, Uint16Array.of(20, 21, 22)],
  ])

  test('lays the sequences end to end in the order of the addresses', () => {
    const addresses = [
      { shard: 2, index: 0 },
      { shard: 0, index: 1 },
    ]
    expect([...gatherTokens(addresses, shards, 2)]).toEqual([20, 21, 22, 13, 14, 15])
    expect([...gatherTokens([], shards, 2)]).toEqual([])
  })

  test.each([
    { shard: 1, index: 0 },
    { shard: 2, index: 1 },
  ])('refuses what is not there: $shard:$index', (address) => {
    expect(() => gatherTokens([address], shards, 2)).toThrow(expect.objectContaining({ code: 'bad-request' }))
  })
})
