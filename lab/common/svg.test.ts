import { describe, expect, it } from 'vitest'
import { decades, element, linear, logarithmic, text, ticks } from './svg.ts'

describe('a plot’s scales', () => {
  it('go from values to pixels, straight and by logarithm', () => {
    expect(linear([0, 10], [100, 200])(2.5)).toBe(125)
    expect(linear([0, 10], [200, 100])(2.5)).toBe(175)
    expect(logarithmic([1, 10_000], [0, 400])(100)).toBeCloseTo(200, 9)
  })

  it('are marked at round numbers inside them', () => {
    expect(ticks([3.93, 4.61], 5)).toEqual([4, 4.2, 4.4, 4.6])
    expect(ticks([-0.0011, 0.0021], 5)).toEqual([-0.001, 0, 0.001, 0.002])
    expect(decades([11_000, 6_600_000])).toEqual([100_000, 1_000_000])
  })
})

describe('an element', () => {
  it('is escaped, and its numbers are short', () => {
    expect(text(1 / 3, 2, 'a < b & "c"')).toBe('<text x="0.33" y="2">a &#60; b &#38; &#34;c&#34;</text>')
    expect(element('g', { class: '"' })).toBe('<g class="&#34;"></g>')
  })
})
