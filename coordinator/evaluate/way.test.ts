import { describe, expect, it } from 'vitest'
import { PRESETS } from '../../shared/model/config.ts'
import { predictEffort, wayOf } from './way.ts'

/** Half of a small server. */
const MEANS = { memoryBytes: 4 * 2 ** 30, heldOutTokens: 25_600 }

describe('the way of an evaluation', () => {
  it('E3 is the coordinator’s for what it can carry, and volunteers’ for what is larger', () => {
    for (const name of ['nano', 'micro', 'mini'] as const)
      expect(wayOf('auto', PRESETS[name], MEANS)).toBe('coordinator')
    for (const name of ['35m', '90m', '1.3b', '10b'] as const)
      expect(wayOf('auto', PRESETS[name], MEANS)).toBe('volunteers')
  })

  it('E3 is volunteers’ where the memory is too small', () => {
    const { bytes } = predictEffort(PRESETS.micro)
    expect(wayOf('auto', PRESETS.micro, { ...MEANS, memoryBytes: bytes })).toBe('coordinator')
    expect(wayOf('auto', PRESETS.micro, { ...MEANS, memoryBytes: bytes - 1 })).toBe('volunteers')
  })

  it('E3 is volunteers’ where so many tokens take too long', () => {
    // mini is the largest that the coordinator measures on 25,600 tokens; on a hundred times as many it is not.
    expect(wayOf('auto', PRESETS.mini, { ...MEANS, heldOutTokens: 2_560_000 })).toBe('volunteers')
  })

  it('E3 is the operator’s to force', () => {
    expect(wayOf('volunteers', PRESETS.nano, MEANS)).toBe('volunteers')
    expect(wayOf('coordinator', PRESETS['10b'], { ...MEANS, memoryBytes: 0 })).toBe('coordinator')
  })

  it('counts a forward pass a token, of the held-out set and of the sample', () => {
    // nano: 25,600 tokens and 80 × 64 of the sample; 2 × 172,480 + 4 × 2 × 64 × 64 = 377,728 operations each at 4e9/s.
    expect(predictEffort(PRESETS.nano).seconds).toBeCloseTo((30_720 * 377_728) / 4e9, 6)
  })
})
