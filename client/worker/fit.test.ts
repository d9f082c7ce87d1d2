import { expect, test } from 'vitest'
import { predictPeakBytes } from '../../shared/engine/tfjs/peakBytes.ts'
import { PRESETS } from '../../shared/model/config.ts'
import { budgetOf, divisors, fitsOf } from './fit.ts'

test('all divisors of a batch fit where there is room, the smallest first', () => {
  const fits = fitsOf(PRESETS.nano, 12, 'wasm', { gib: 8 })
  expect(fits.map(({ microBatch }) => microBatch)).toEqual([1, 2, 3, 4, 6, 12])
  const peaks = fits.map(({ peakBytes }) => peakBytes)
  expect(peaks).toEqual([...peaks].sort((a, b) => a - b))
  // The whole batch at once keeps no second copy of the gradients.
  expect(peaks.at(-1)).toBe(
    predictPeakBytes(PRESETS.nano, { backend: 'wasm', microBatch: 12, accumulates: false }),
  )
})

test('a small device takes a part of the batch at once, and none of a model too large for it', () => {
  const most = (gib: number) => fitsOf(PRESETS.mini, 16, 'wasm', { gib }).at(-1)?.microBatch
  expect(most(8)).toBeGreaterThan(most(1) ?? 99)
  expect(fitsOf(PRESETS['1.3b'], 1, 'wasm', { gib: 32 })).toEqual([])
})

test('a WebAssembly memory ends at 4 GiB whatever the device has; nobody says is 4 GiB', () => {
  expect(budgetOf(PRESETS.nano, 'wasm', { gib: 32 })).toBeLessThan(2 ** 32)
  expect(budgetOf(PRESETS.nano, 'webgpu', { gib: 32 })).toBe(16 * 2 ** 30)
  expect(budgetOf(PRESETS.nano, 'webgpu', { gib: undefined })).toBe(2 * 2 ** 30)
})

test('the moments are not in the WebAssembly memory: eight bytes for each of 172,480 parameters', () => {
  const [none, nano] = [{ ...PRESETS.nano, vocabSize: 0, layers: 0, dModel: 0 }, PRESETS.nano]
  const beside = budgetOf(nano, 'wasm', { gib: 32 }) - budgetOf(none, 'wasm', { gib: 32 })
  expect(beside).toBe(1_379_840)
})

test('on WebGPU the compiled step is predicted, which takes less than TensorFlow.js', () => {
  const peak = (backend: 'webgpu' | 'wasm', preset: 'nano' | '35m') =>
    fitsOf(PRESETS[preset], 8, backend, { gib: 64 }).at(-1)?.peakBytes ?? Number.NaN
  const tfjs = (preset: 'nano' | '35m') =>
    predictPeakBytes(PRESETS[preset], { backend: 'webgpu', microBatch: 8, accumulates: false })
  expect(peak('webgpu', 'nano')).toBeLessThan(0.7 * tfjs('nano'))
  expect(peak('webgpu', '35m')).toBeLessThan(tfjs('35m'))
  // Parameters, gradients and both moments alone are 16 bytes each, and what contributions keep another four.
  expect(peak('webgpu', '35m')).toBeGreaterThan(20 * 35_660_000)
  expect(peak('wasm', 'nano')).not.toBe(peak('webgpu', 'nano'))
})

test('divisors', () => {
  expect(divisors(12)).toEqual([1, 2, 3, 4, 6, 12])
  expect(divisors(7)).toEqual([1, 7])
})
