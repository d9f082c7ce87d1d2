/** The whole experiment, small: its parts, not what it finds. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { measureCodecs } from './experiment.ts'
import type { Report } from './report.ts'

describe('the codecs experiment', () => {
  let folder: string
  let report: Report
  let flags: string[]
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'potluck-codecs-test-'))
    flags = [
      '--quick',
      '--jobs',
      '2',
      '--cache',
      join(folder, 'runs.jsonl'),
      '--out',
      join(folder, 'plot.svg'),
    ]
    report = await measureCodecs(flags, () => undefined)
  }, 600_000)
  afterAll(() => rm(folder, { recursive: true, force: true }))

  it('has f32 once and four codecs with three decays, each in four settings, with two seeds', () => {
    expect(report.rows).toHaveLength(4 * (1 + 4 * 3))
    const cells = new Set(report.rows.map((row) => [row.codec, row.decay, row.fragments, row.overlap].join()))
    expect(cells.size).toBe(52)
    expect(report.rows.every(({ seeds }) => seeds === 2)).toBe(true)
    expect(report.noise).toHaveLength(4)
  })

  it('lets every run learn: its loss falls below the warm checkpoint’s, which is below that of knowing nothing', () => {
    expect(report.start.mean).toBeLessThan(Math.log(300))
    for (const { valLoss } of report.rows) expect(valLoss).toBeLessThan(report.start.mean)
  })

  it('[S10] compares f32 with itself, and gives every other row an interval around its mean', () => {
    for (const { codec, relativeToF32, relativeCi } of report.rows) {
      if (codec === 'f32') expect(relativeToF32).toBe(0)
      expect(relativeCi?.[0]).toBeLessThanOrEqual(relativeToF32)
      expect(relativeCi?.[1]).toBeGreaterThanOrEqual(relativeToF32)
    }
  })

  it('sends fewer bytes with every coarser codec', () => {
    const bytes = ['f32', 'f16', 'int8', 'int4', 'sparse'].map(
      (name) => report.rows.find(({ codec }) => codec === name)?.bytesUp ?? 0,
    )
    expect(bytes).toEqual([...bytes].sort((a, b) => b - a))
    expect(new Set(bytes).size).toBe(5)
  })

  it('[S9] runs nothing again: the cache gives the same report', async () => {
    const lines: string[] = []
    expect(await measureCodecs(flags, (line) => void lines.push(line))).toEqual(report)
    expect(lines[0]).toBe('128 runs, 128 of them finished before.')
  })

  it('draws a mark for every row', async () => {
    const svg = await readFile(join(folder, 'plot.svg'), 'utf8')
    expect(svg.startsWith('<svg xmlns="http://www.w3.org/2000/svg"')).toBe(true)
    expect(svg).not.toMatch(/NaN|undefined|Infinity/)
    const close = report.rows.filter(({ codec }) => codec !== 'sparse')
    const shown = report.rows.length + report.withoutMomentum.length + close.length
    expect(svg.match(/class="mark /g)).toHaveLength(shown + 4) // and four in the legend
  })
})
