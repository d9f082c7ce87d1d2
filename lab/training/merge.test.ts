import { describe, expect, it } from 'vitest'
import type { ParameterEntry } from '../../shared/model/layout.ts'
import { rdaSum, weightedSum } from './merge.ts'

const entry = (name: string, offset: number, size: number): ParameterEntry => ({
  name,
  shape: [size],
  offset,
  size,
  layer: 0,
})
const LAYOUT = [entry('model.embed_tokens.weight', 0, 2), entry('w', 2, 2)]
const mean = (sum: Float64Array, weight: number) => [...sum].map((value) => value / weight)

describe('merging', () => {
  it('by the mean weighs by tokens', () => {
    const contributions = [
      { delta: Float32Array.of(1, 0), weight: 3 },
      { delta: Float32Array.of(0, 2), weight: 1 },
    ]
    expect(mean(weightedSum(contributions, 2), 4)).toEqual([0.75, 0.5])
  })

  it('by RDA keeps the mean length of orthogonal contributions, but for the embedding', () => {
    // Lengths 3 and 4 at a right angle, of equal weight: their directions' mean points to (1, 1)/√2; its length is 3.5.
    const contributions = [
      { delta: Float32Array.of(1, 0, 3, 0), weight: 5 },
      { delta: Float32Array.of(0, 1, 0, 4), weight: 5 },
    ]
    const got = mean(rdaSum(contributions, LAYOUT), 10)
    expect(got.slice(0, 2)).toEqual([0.5, 0.5])
    expect(got.slice(2).map((value) => value / (3.5 / Math.SQRT2))).toEqual([
      expect.closeTo(1, 12),
      expect.closeTo(1, 12),
    ])
  })

  it('by RDA is the contribution itself where there is one, and nothing where there is nothing', () => {
    const one = rdaSum([{ delta: Float32Array.of(1, 2, 3, 4), weight: 7 }], LAYOUT)
    expect(mean(one, 7)).toEqual([1, 2, 3, 4].map((value) => expect.closeTo(value, 6)))
    expect([...rdaSum([{ delta: new Float32Array(4), weight: 7 }], LAYOUT)]).toEqual([0, 0, 0, 0])
  })
})
