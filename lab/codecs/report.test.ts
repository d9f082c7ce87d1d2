import { describe, expect, it } from 'vitest'
import { type FinishedRun, percent, reportOf } from './report.ts'
import { besideTheGrid, type Cell, grid, QUICK } from './settings.ts'

/** Losses of four seeds; f32 is 4, 5, 4, 5, and int4 is above it by 1, 2, 3, 4 percent, ten times that with overlap. */
function lossOf({ codec, overlap }: Cell, seed: number): number {
  const f32 = seed % 2 === 1 ? 4 : 5
  return codec === 'int4' ? f32 * (1 + (seed / 100) * (overlap ? 10 : 1)) : f32
}

const SEEDS = ['1', '2', '3', '4']
const RUNS: FinishedRun[] = SEEDS.flatMap((seed) =>
  [...grid(), ...besideTheGrid()].map((cell) => ({
    cell,
    seed,
    result: { valLoss: lossOf(cell, Number(seed)), startLoss: 6, bytesUp: 1, bytesDown: 2, seconds: 3 },
  })),
)

describe('the report', () => {
  const report = reportOf(QUICK, SEEDS, RUNS)
  const row = report.rows.find(
    ({ codec, fragments, overlap }) => codec === 'int4' && fragments === 1 && !overlap,
  )

  // Of 1, 2, 3, 4 percent: 2.5 ± 2.054, as in statistics.test.ts. Unpaired, the seeds' 4 and 5 would hide it.
  it('[S10] takes differences within a seed', () => {
    expect(row?.relativeToF32).toBeCloseTo(0.025, 9)
    expect(row?.relativeCi?.[0]).toBeCloseTo(0.00446, 5)
    expect(row?.relativeCi?.[1]).toBeCloseTo(0.04554, 5)
    expect(row?.valLoss).toBeCloseTo((4.04 + 5.1 + 4.12 + 5.2) / 4, 9)
  })

  it('[S10] summarises settings seed by seed', () => {
    const summary = report.summary.find(({ codec, decay }) => codec === 'int4' && decay === 1)
    expect(summary?.relativeToF32).toBeCloseTo((0.025 + 0.25) / 2, 9)
    expect(summary?.worst).toBeCloseTo(0.25, 9)
    // Seeds have 5.5, 11, 16.5, 22 percent: 5.5 times 1, 2, 3, 4.
    expect(summary?.relativeCi?.[0]).toBeCloseTo(5.5 * 0.00446, 4)
  })

  it('says which cells stay within half a percent', () => {
    expect(report.conclusions).toContain(
      'int8 with error feedback: the whole interval is within 0.5 % of f32 in 8 of 8 cells.',
    )
    expect(report.conclusions).toContain(
      'int4 with error feedback: the whole interval is within 0.5 % of f32 in 0 of 8 cells.',
    )
  })
})

describe('a percentage', () => {
  it.each([
    [0.1234, '+12.34 %'],
    [-0.00123, '-0.12 %'],
    [0.0000123, '+0.0012 %'],
    [-0.0000000123, '-1e-6 %'],
    [0, '0 %'],
  ])('of %f is %s', (part, words) => {
    expect(percent(part)).toBe(words)
  })
})
