import { describe, expect, it } from 'vitest'
import { HOME, type Protocol, traffic, trainingShare, uplinkFor } from './home.ts'

/** 256,000 parameters are 1,000 blocks: int8 has 258 bytes a block, int4 130 (shared/codec/RULES.md). */
const N = 256_000
const CLASSIC: Protocol = {
  codec: 'int8',
  downlink: 'int8',
  innerSteps: 100,
  fragments: 1,
  overlap: false,
  group: 1,
}

describe('traffic', () => {
  it('is the codecs’ bytes', () => {
    const bytes = 258_000
    expect(traffic(N, CLASSIC)).toEqual({
      up: bytes,
      down: bytes,
      coordinatorIn: bytes,
      coordinatorOut: bytes,
    })
    expect(traffic(N, { ...CLASSIC, codec: 'int4' }).up).toBe(130_000)
  })

  it('in a group of 4 is a quarter for the coordinator, and three quarters more for each peer', () => {
    const { up, down, coordinatorIn } = traffic(N, { ...CLASSIC, group: 4 })
    expect([up, down, coordinatorIn]).toEqual([258_000 * 1.75, 258_000 * 1.75, 258_000 / 4])
  })
})

describe('the share of time in inner steps', () => {
  // 258,000 bytes: 206.4 ms up at 10 Mbit/s, 41.28 ms down at 50, and four times 30 ms: 367.68 ms.
  it('waits for the bytes without overlap', () => {
    expect(trainingShare(N, 0.01, CLASSIC, HOME)).toBeCloseTo(1 / 1.36768, 9)
  })

  it('with overlap waits for what the next lease does not cover', () => {
    expect(trainingShare(N, 0.01, { ...CLASSIC, overlap: true }, HOME)).toBe(1)
    expect(trainingShare(N, 0.002, { ...CLASSIC, overlap: true }, HOME)).toBeCloseTo(0.2 / 0.36768, 9)
  })

  it('tells the uplink that a share needs', () => {
    const up = uplinkFor(0.9, N, 0.01, CLASSIC, { latency: 0, ratio: 5 }) ?? 0
    // A ninth of a second for 258,000 bytes up, and down at five times that: 6/5 of 2,064,000 bits.
    expect(up).toBeCloseTo((2_064_000 * 1.2) / (1 / 9), 3)
    expect(uplinkFor(0.9, N, 0.01, CLASSIC, { latency: 1, ratio: 5 })).toBeNull()
  })
})
