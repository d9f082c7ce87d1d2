import { describe, expect, it } from 'vitest'
import { csvOf, htmlOf, shown, textOf } from './table.ts'

const TABLE = {
  id: 'a',
  title: 'A title',
  columns: ['name', 'value'],
  rows: [
    ['one, "two"', 1.23456],
    ['<b>', null],
  ],
}

describe('a table', () => {
  it('is text with numbers to the right', () => {
    expect(textOf(TABLE)).toBe(
      ['A title', 'name        value', '----------  -----', 'one, "two"  1.235', '<b>             –'].join(
        '\n',
      ),
    )
  })

  it('is CSV, quoted where it has to be, with numbers in full', () => {
    expect(csvOf(TABLE)).toBe('name,value\r\n"one, ""two""",1.23456\r\n<b>,\r\n')
  })

  it('is HTML without markup of its own contents', () => {
    expect(htmlOf(TABLE)).toContain('<td>&#60;b&#62;</td><td class="number">–</td>')
  })

  it.each([
    [0.5, '0.5'],
    [1234567, '1,234,567'],
    [0.00001234, '1.23e-5'],
    [0, '0'],
  ])('shows %f as %s', (value, words) => {
    expect(shown(value)).toBe(words)
  })
})
