import { describe, expect, it } from 'vitest'
import { dataParallelBytes, timesLess } from './traffic.ts'

describe('traffic', () => {
  it('is compared with a bf16 gradient up and down for every step', () => {
    // 1,000 parameters, 3 replicas of 100 steps: 2 bytes each way, 2 × 2 × 1,000 × 300.
    expect(dataParallelBytes(300, 1_000)).toBe(1_200_000)
    expect(timesLess({ steps: 300, bytesUp: 3_024, bytesDown: 3_024 }, 1_000)).toBeCloseTo(198.41, 2)
    expect(timesLess({ steps: 0, bytesUp: 0, bytesDown: 0 }, 1_000)).toBeNull()
  })
})
