import { describe, expect, it } from 'vitest'
import { CODEC_NAMES, CODECS, type CodecName } from '../codec/codec.ts'
import { randomFrom } from '../model/random.ts'
import { contributionBound } from './bound.ts'

/** Largest magnitude that error feedback ever sends, when `delta` gives the pseudo-gradient of round and index. */
function largestSent(codec: CodecName, delta: (round: number, index: number) => number, rounds: number) {
  const size = 4096
  const residual = new Float32Array(size)
  let largest = 0
  for (let round = 0; round < rounds; round++) {
    const wanted = residual.map((r, i) => r + delta(round, i))
    const sent = CODECS[codec].decode(CODECS[codec].encode(wanted), size)
    wanted.forEach((x, i) => {
      residual[i] = x - (sent[i] as number)
      largest = Math.max(largest, Math.abs(sent[i] as number))
    })
  }
  return largest
}

describe('the bound on what a codec sends with error feedback', () => {
  const uniform = randomFrom('bound')
  const histories = {
    'all the same': () => 0.25,
    'one direction, all sizes': (_: number, i: number) => 0.25 * ((i + 1) / 4096),
    'signs at random': () => (uniform() < 0.5 ? 0.25 : -0.25),
    'just under half a step': (round: number, i: number) =>
      i === 0 ? 0.25 : ((round % 2) * 0.24 + 0.01) / 14,
    'a few far ahead': (_: number, i: number) => (i % 64 === 0 ? 0.25 : 0.12),
  }
  it.each(
    CODEC_NAMES.flatMap((codec) => Object.entries(histories).map(([name, f]) => [codec, name, f] as const)),
  )('%s stays within it: %s', (codec, _, delta) => {
    expect(largestSent(codec, delta, 200)).toBeLessThanOrEqual(contributionBound(codec, 0.25))
  })

  it.each(CODEC_NAMES)('%s stays within it where its scales are subnormal', (codec) => {
    for (const travel of [2 ** -15, 2 ** -20, 2 ** -22]) {
      const delta = (round: number, i: number) => travel * Math.sin(i * i + round)
      expect(largestSent(codec, delta, 200)).toBeLessThanOrEqual(contributionBound(codec, travel))
    }
  })

  it('is the travel itself for f32, a hundredth more for int8, a sixth more for int4', () => {
    // 127/126 and 7/6, each with 2^-10 more, by hand.
    expect(contributionBound('f32', 1)).toBe(1)
    expect(contributionBound('int8', 1)).toBeCloseTo(1.0089, 4)
    expect(contributionBound('int4', 1)).toBeCloseTo(1.1678, 4)
  })
})
