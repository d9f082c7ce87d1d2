import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { SILENT } from '../common/report.ts'
import { pointSchema } from '../scaling/points.ts'
import { away, tryOut } from '../training/testing.ts'
import { compareMethods } from './experiment.ts'

describe('lab -- compare', () => {
  it('tunes every method and reports its loss against data parallelism of the same size', async () => {
    // M replicas cost M percent; a rate that is not the best costs more.
    const { report, specs } = await tryOut(compareMethods, ['--quick', '--seeds', '2'], (spec) => {
      const penalty = spec.replicas ?? 0
      return 4 * (1 + penalty / 100) + 0.1 * away(spec.innerLearningRate, 8e-3)
    })
    const [losses, tuned] = report.tables
    expect(losses?.rows).toHaveLength(2 * 5)
    for (const [, method, , , , penalty] of losses?.rows ?? []) {
      expect(penalty).toBeCloseTo(method === 'data parallel' ? 0 : Number(String(method).slice(2)), 6)
    }
    expect(tuned?.rows).toHaveLength(5)
    expect(new Set(specs.map(({ seed }) => seed))).toEqual(new Set(['1', '2']))
    expect(report.findings.at(-1)).toContain('M=8 against data parallelism')
  })

  it('trains the same tokens with every method', async () => {
    const { specs } = await tryOut(compareMethods, ['--quick', '--sizes', '1'], () => 4)
    expect(new Set(specs.map(({ tokens }) => tokens)).size).toBe(1)
  })

  it('really trains, in processes, once; what it finds can be fitted', { timeout: 120_000 }, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'potluck-compare-test-'))
    try {
      const flags = ['--tiny', '--sizes', '1', '--jobs', '2', '--out', folder]
      const report = await compareMethods(flags, { voice: SILENT })
      const points = pointSchema.array().parse((report.data as { points: unknown }).points)
      expect(points).toHaveLength(5)
      // Knowing nothing of 300 tokens is 5.7 nats.
      for (const { loss } of points) expect(loss).toBeLessThan(Math.log(300))
      const runs = await readFile(join(folder, 'training.runs.jsonl'), 'utf8')
      expect(await compareMethods(flags, { voice: SILENT })).toEqual(report)
      expect(await readFile(join(folder, 'training.runs.jsonl'), 'utf8')).toBe(runs)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
})
