import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Book } from './book.ts'

const ALL = ['__proto__', 'constructor', ...Array.from({ length: 60 }, (_, i) => `id-${i}`)]
const ids = fc.constantFrom(...ALL)
const moves = fc.array(fc.tuple(ids, fc.option(fc.nat(), { nil: null })), { maxLength: 200 })

const through = (from: Book<number>, list: readonly (readonly [string, number | null])[]): Book<number> =>
  list.reduce((book, [id, value]) => (value === null ? book.without(id) : book.with(id, value)), from)

describe('a book', () => {
  it('is a map, whatever is put in and taken out', () => {
    fc.assert(
      fc.property(moves, (list) => {
        const map = new Map<string, number>()
        let book = Book.of<number>([])
        for (const [id, value] of list) {
          if (value === null) map.delete(id)
          else map.set(id, value)
          book = value === null ? book.without(id) : book.with(id, value)
        }
        expect(book.size).toBe(map.size)
        expect(new Map(book.entries())).toEqual(map)
        for (const [id] of list) expect(book.get(id)).toBe(map.get(id))
      }),
    )
  })

  it('has the same structure for the same contents, however it came to them', () => {
    fc.assert(
      fc.property(moves, (list) => {
        const history = through(Book.of<number>([]), list)
        expect(Book.of([...history.entries()].reverse())).toStrictEqual(history)
      }),
    )
  })

  it('is never changed', () => {
    const before = Book.of(Array.from({ length: 100 }, (_, i) => [`id-${i}`, i] as const))
    const after = before.with('id-1', -1).without('id-2').with('new', 5)
    expect([before.get('id-1'), before.get('id-2'), before.get('new'), before.size]).toEqual([
      1,
      2,
      undefined,
      100,
    ])
    expect([after.get('id-1'), after.get('id-2'), after.get('new'), after.size]).toEqual([
      -1,
      undefined,
      5,
      100,
    ])
  })

  it('knows its first and its last by an order of its values, equals by id', () => {
    const order = (a: number, b: number) => (a % 10) - (b % 10)
    fc.assert(
      fc.property(moves, (list) => {
        const book = through(Book.of<number>([], order), list)
        const pairs = [...book.entries()].sort(([a, x], [b, y]) => order(x, y) || (a < b ? -1 : 1))
        expect([book.first, book.last]).toEqual([pairs[0] ?? null, pairs.at(-1) ?? null])
        expect(Book.of(pairs.reverse(), order)).toStrictEqual(book)
      }),
    )
  })

  it('tells what has changed since an earlier one, and nothing else', () => {
    fc.assert(
      fc.property(moves, moves, (earlier, later) => {
        const before = through(Book.of<number>([]), earlier)
        const now = through(before, later)
        const changed = ALL.flatMap((id) => {
          const [one, other] = [before.get(id), now.get(id)]
          return one === other ? [] : [{ id, before: one, after: other }]
        })
        const byId = <T extends { id: string }>(list: T[]) => list.sort((a, b) => (a.id < b.id ? -1 : 1))
        expect(byId([...now.since(before)])).toEqual(byId(changed))
        expect([...now.since()]).toHaveLength(now.size)
        expect([...now.since(now)]).toEqual([])
      }),
    )
  })

  it('is a record as JSON', () => {
    expect(JSON.parse(JSON.stringify(Book.of([['a', 1]])))).toEqual({ a: 1 })
  })
})
