import { describe, expect, it } from 'vitest'
import { CHINCHILLA, gridIndexOf, TABLE_6, TARGETS } from './paper.ts'
import { BITS, GRID, gridIndexFor, utilisation } from './utilisation.ts'

describe('the grid of bandwidths', () => {
  it('is the papers’: 50 from 0.1 to 1000, each printed one of them to within half a step', () => {
    expect(GRID[0]).toBeCloseTo(0.1, 12)
    expect(GRID[37]).toBeCloseTo(104.8, 1)
    expect(GRID[49]).toBeCloseTo(1_000, 9)
    for (const gbit of [16, 49.4, 86.8, 152.6, 222.3, 390.7]) {
      expect(Math.abs((GRID[gridIndexOf(gbit)] ?? 0) / gbit - 1)).toBeLessThan(0.003)
    }
  })
})

describe('table 6', () => {
  it.each(TABLE_6.map((row) => [row.architecture.name, row.innerSteps, row] as const))(
    'is reproduced within one step of the grid: %s, H = %d',
    (_name, innerSteps, { architecture, gbits }) => {
      expect(gbits).toHaveLength(TARGETS.length)
      for (const [i, target] of TARGETS.entries()) {
        const ours = gridIndexFor(target, architecture, { innerSteps })
        expect(Math.abs(ours - gridIndexOf(gbits[i] ?? 0))).toBeLessThanOrEqual(1)
      }
    },
  )
})

describe('compute utilisation', () => {
  it('is everything on an endless wire, and goes to nothing without one', () => {
    expect(utilisation(CHINCHILLA, { innerSteps: 1 }, 1e18)).toBeCloseTo(1, 6)
    expect(utilisation(CHINCHILLA, { innerSteps: 100 }, 1)).toBeLessThan(1e-8)
  })

  it('with overlap waits only for what does not fit the steps meanwhile', () => {
    // 10 fragments of a tenth: at this bandwidth each takes 2 s, of which one step hides 0.8 s. 100 steps are 80 s.
    const bandwidth = (BITS * 10e9) / 10 / 2
    const synchronising = { innerSteps: 100, fragments: 10, overlapSteps: 1 }
    expect(utilisation(CHINCHILLA, synchronising, bandwidth)).toBeCloseTo(80 / (80 + 10 * 1.2), 12)
  })
})
