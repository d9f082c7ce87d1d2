import { describe, expect, it } from 'vitest'
import { chipsOf, NETWORKS, type Training, wallClock } from './wallClock.ts'

/** 1 G parameters, 2^20 tokens a step: 128 chips. 1,000 steps. */
const BASE: Training = {
  parameters: 1e9,
  tokens: 1_000 * 2 ** 20,
  batch: 2 ** 20,
  replicas: null,
  innerSteps: 50,
}

describe('the wall-clock model', () => {
  it('has the paper’s times for data parallelism, by hand', () => {
    expect(chipsOf(BASE.batch, null)).toBe(128)
    const { compute, communication } = wallClock(BASE, NETWORKS.low)
    expect(compute).toBeCloseTo((6e9 * 1_000 * 2 ** 20) / (128 * 300e12), 6)
    // 32 Gbit at 10 Gbit/s, 127/128 of it, and 10 ms; a thousand times.
    expect(communication).toBeCloseTo(1_000 * (3.2 * (127 / 128) + 0.01), 6)
  })

  it('with M = 1 synchronises once more every H steps', () => {
    const parallel = wallClock(BASE, NETWORKS.low).communication
    expect(wallClock({ ...BASE, replicas: 1 }, NETWORKS.low).communication).toBeCloseTo(parallel * 1.02, 6)
  })

  it('with M ≥ 2 goes between data centres every H steps only', () => {
    const { communication } = wallClock({ ...BASE, replicas: 4 }, NETWORKS.low)
    // Inside: 32 chips, 32 Gbit at 400 Gbit/s and 0.1 ms. Between: as above, a fiftieth as often.
    const inside = 1_000 * (0.08 * (31 / 32) + 1e-4)
    expect(communication).toBeCloseTo(inside + 20 * (3.2 * (127 / 128) + 0.01), 6)
  })
})
