import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { DataRange } from '../../shared/protocol/run.ts'
import { countSequences, emptyPool, giveBack, splitRanges, take } from './pool.ts'

describe('the pool of data', () => {
  it('hands out an epoch in order and then the next', () => {
    const first = take(emptyPool(), 6, 10)
    expect(first.ranges).toEqual([{ epoch: 0, first: 0, count: 6 }])
    const second = take(first.pool, 6, 10)
    expect(second.ranges).toEqual([
      { epoch: 0, first: 6, count: 4 },
      { epoch: 1, first: 0, count: 2 },
    ])
  })

  it('serves a request larger than an epoch', () => {
    expect(take(emptyPool(), 7, 3).ranges.map((r) => [r.epoch, r.first, r.count])).toEqual([
      [0, 0, 3],
      [1, 0, 3],
      [2, 0, 1],
    ])
  })

  it('[D3] leases what was given back before what is new, joining neighbours', () => {
    let pool = take(emptyPool(), 9, 100).pool
    pool = giveBack(pool, [{ epoch: 0, first: 6, count: 3 }])
    pool = giveBack(pool, [{ epoch: 0, first: 3, count: 3 }])
    expect([...pool.returned]).toEqual([{ epoch: 0, first: 3, count: 6 }])
    expect(take(pool, 8, 100).ranges).toEqual([
      { epoch: 0, first: 3, count: 6 },
      { epoch: 0, first: 9, count: 2 },
    ])
  })

  it('splits across ranges', () => {
    const ranges: DataRange[] = [
      { epoch: 0, first: 0, count: 3 },
      { epoch: 1, first: 5, count: 4 },
    ]
    expect(splitRanges(ranges, 5)).toEqual([
      [
        { epoch: 0, first: 0, count: 3 },
        { epoch: 1, first: 5, count: 2 },
      ],
      [{ epoch: 1, first: 7, count: 2 }],
    ])
  })

  it('[D1] consumes every sequence exactly once an epoch, however leases end', () => {
    const action = fc.record({ count: fc.integer({ min: 1, max: 9 }), kept: fc.integer({ min: 0, max: 9 }) })
    fc.assert(
      fc.property(fc.array(action, { maxLength: 80 }), (actions) => {
        let pool = emptyPool()
        const consumed = new Map<string, number>()
        const consume = (ranges: DataRange[]) => {
          for (const { epoch, first, count } of ranges) {
            for (let i = first; i < first + count; i++) {
              consumed.set(`${epoch}/${i}`, (consumed.get(`${epoch}/${i}`) ?? 0) + 1)
            }
          }
        }
        for (const { count, kept } of actions) {
          const taken = take(pool, count, 17)
          expect(countSequences(taken.ranges)).toBe(count)
          const [used, unused] = splitRanges(taken.ranges, Math.min(kept, count))
          consume(used)
          pool = giveBack(taken.pool, unused)
        }
        const open = new Set<string>()
        for (const { epoch, first, count } of pool.returned) {
          for (let i = first; i < first + count; i++) open.add(`${epoch}/${i}`)
        }
        for (let epoch = 0; epoch <= pool.epoch; epoch++) {
          for (let i = 0; i < (epoch === pool.epoch ? pool.cursor : 17); i++) {
            const key = `${epoch}/${i}`
            expect((consumed.get(key) ?? 0) + (open.has(key) ? 1 : 0)).toBe(1)
          }
        }
      }),
    )
  })
})
