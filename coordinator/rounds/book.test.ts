import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Book } from './book.ts'

const ids = fc.constantFrom('__proto__', 'constructor', ...Array.from({ length: 60 }, (_, i) => `id-${i}`))
const moves = fc.array(fc.tuple(ids, fc.option(fc.nat(), { nil: null })), { maxLength: 200 })

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
        const history = list.reduce(
          (book, [id, value]) => (value === null ? book.without(id) : book.with(id, value)),
          Book.of<number>([]),
        )
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

  it('is a record as JSON', () => {
    expect(JSON.parse(JSON.stringify(Book.of([['a', 1]])))).toEqual({ a: 1 })
  })
})
