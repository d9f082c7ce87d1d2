import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Ranges } from './ranges.ts'

/** Positions 0 to 59 of two epochs, each in the set or not; consecutive ones are a range. */
const sets = fc.tuple(
  fc.array(fc.boolean(), { minLength: 60, maxLength: 60 }),
  fc.array(fc.boolean(), { minLength: 60, maxLength: 60 }),
)

describe('ranges', () => {
  it('are joined where they touch, and in order, whatever order they came in', () => {
    fc.assert(
      fc.property(sets, fc.infiniteStream(fc.nat()), (epochs, numbers) => {
        const singles = epochs.flatMap((positions, epoch) =>
          positions.flatMap((there, first) => (there ? [{ epoch, first, count: 1 }] : [])),
        )
        const shuffled = singles
          .map((range) => ({ range, at: numbers.next().value }))
          .sort((a, b) => a.at - b.at)
          .map(({ range }) => range)
        const ranges = Ranges.of(shuffled)
        const runs = epochs.flatMap((positions, epoch) =>
          [
            ...positions
              .map((there) => (there ? 'x' : '.'))
              .join('')
              .matchAll(/x+/g),
          ].map(({ index, 0: run }) => ({
            ...{ epoch, first: index, count: run.length },
          })),
        )
        expect([...ranges]).toEqual(runs)
        expect(ranges.size).toBe(runs.length)
        expect(ranges.first).toEqual(runs[0] ?? null)
        expect(Ranges.of(runs)).toStrictEqual(ranges)
        const [one, ...others] = runs
        if (one) expect([...ranges.without(one)]).toEqual(others)
      }),
    )
  })

  it('are a list as JSON', () => {
    const list = [
      { epoch: 0, first: 5, count: 2 },
      { epoch: 1, first: 0, count: 9 },
    ]
    expect(JSON.parse(JSON.stringify(Ranges.of(list)))).toEqual(list)
  })
})
