import { expect, test } from 'vitest'
import { bestOf } from './measureBackend.ts'

const speed = (microBatch: number, tokensPerSecond: number) => ({ microBatch, tokensPerSecond, peakBytes: 0 })

test.each([
  ['the largest wins when it is about as fast', [speed(1, 700), speed(8, 950), speed(4, 1_000)], 8],
  ['a much faster smaller one wins', [speed(1, 500), speed(8, 800), speed(4, 1_000)], 4],
  ['one sequence at a time when nothing else was measured', [speed(1, 700)], 1],
])('%s', (_, measured, microBatch) => {
  expect(bestOf(measured, measured[0] ?? speed(0, 0)).microBatch).toBe(microBatch)
})
