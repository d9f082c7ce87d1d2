import { describe, expect, it } from 'vitest'
import { chartOf, short } from './chart.ts'

describe('a chart', () => {
  const svg = chartOf({
    title: 'Loss < 4',
    x: { label: 'parameters', log: true },
    y: { label: 'loss' },
    series: [
      {
        name: 'one',
        points: [
          { x: 10, y: 4, between: [3, 5] },
          { x: 1_000, y: 2 },
        ],
      },
      {
        name: 'two',
        draw: 'dashes',
        points: [
          { x: 10, y: 3 },
          { x: 0, y: 3 },
          { x: 100, y: Number.NaN },
        ],
      },
    ],
  })

  it('has a mark for every point of a series that is not a mere line, and a key for each series', () => {
    expect(svg.match(/<circle/g)).toHaveLength(2 + 2)
    expect(svg.match(/<path/g)).toHaveLength(2)
  })

  it('leaves out what cannot be drawn and escapes its words', () => {
    expect(svg).not.toMatch(/NaN|Infinity|undefined/)
    expect(svg).toContain('Loss &#60; 4')
  })

  it.each([
    [1500, '1500'],
    [20_000, '20k'],
    [1.5e6, '1.5M'],
    [0.003, '0.003'],
    [2e-6, '2e-6'],
  ])('writes %f as %s', (value, words) => {
    expect(short(value)).toBe(words)
  })
})
