import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { randomFrom } from '../../shared/model/random.ts'
import { SILENT } from '../common/report.ts'
import { measureSwarm } from './experiment.ts'
import type { Swarm } from './result.ts'
import { DEVICES } from './settings.ts'
import { logNormal } from './tab.ts'
import { simulateSwarm } from './world.ts'

const SWARM: Swarm = {
  volunteers: 40,
  seed: 'test',
  preset: '35m',
  innerSteps: 100,
  batchSize: 8,
  replicas: 10,
  codec: 'int4',
  overlap: true,
  rounds: 5,
  hours: 24,
}

describe('a simulated swarm', () => {
  it('merges its rounds, and counts only what was accepted', async () => {
    const result = await simulateSwarm(SWARM)
    expect(result.rounds).toBe(5)
    // A round closes with 5 to 10 contributions.
    expect(result.accepted).toBeGreaterThanOrEqual(5 * 5)
    expect(result.accepted).toBeLessThanOrEqual(5 * 10 + 10)
    expect(result.tokens % (8 * 2_048)).toBe(0)
    expect(result.usefulSeconds + result.lostSeconds).toBeLessThanOrEqual(result.presentSeconds)
    // int4 of 35 M parameters is 0.508 bytes each; shared/codec/RULES.md.
    expect(result.bytesIn / (result.accepted + result.refused)).toBeGreaterThan(0.5 * 35e6)
  })

  it('is the same again from the same seed, but for what it costs', async () => {
    const strip = async (seed: string) => ({
      ...(await simulateSwarm({ ...SWARM, rounds: 2, seed })),
      costs: null,
    })
    expect(await strip('a')).toEqual(await strip('a'))
    expect(await strip('a')).not.toEqual(await strip('b'))
  })

  it('works without overlap, and ends when its hours do', async () => {
    const result = await simulateSwarm({ ...SWARM, overlap: false, rounds: 1_000, hours: 0.5 })
    expect(result.seconds).toBeLessThanOrEqual(1_800)
    expect(result.rounds).toBeGreaterThan(0)
  })
})

it('speeds are log-normal: half below the median, one in twenty below e^(−1.645 σ) of it', () => {
  const random = randomFrom('speeds')
  const speeds = Array.from({ length: 20_000 }, () => logNormal(DEVICES, random))
  const below = (limit: number) => speeds.filter((speed) => speed < limit).length / speeds.length
  expect(below(DEVICES.median)).toBeCloseTo(0.5, 1)
  expect(below(DEVICES.median * Math.exp(-1.645 * DEVICES.sigma))).toBeCloseTo(0.05, 1)
})

it('lab -- swarm --quick writes its report, and takes finished swarms from the cache', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'potluck-swarm-test-'))
  try {
    const flags = ['--quick', '--volunteers', '100', '--out', folder]
    const first = await measureSwarm(flags, SILENT)
    expect(first.tables.map(({ rows }) => rows.length)).toEqual([2, 2, 2])
    expect(await measureSwarm(flags, SILENT)).toEqual(first)
    expect(await readFile(join(folder, 'swarm-tokens.svg'), 'utf8')).not.toMatch(/NaN|undefined|Infinity/)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})
