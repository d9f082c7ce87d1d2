/**
 * peakBytes.ts in a browser: on WebGPU what the device's buffers come to, on WebGL the bytes of its tensors. wasm does
 * the same in Node: peakBytes.test.ts.
 */
import * as tf from '@tensorflow/tfjs-core'
import { expect, test } from 'vitest'
import { type ModelConfig, PRESETS } from '../../model/config.ts'
import type { Backend } from '../engine.ts'
import { openBackend } from './backend.ts'
import { predictPeakBytes } from './peakBytes.ts'
import { measurePeak } from './peakBytesCases.ts'

const MICRO = { ...PRESETS.micro, sequenceLength: 64 }

test.each<[string, Backend, ModelConfig, number, number]>([
  ['nano, eight by twos', 'webgpu', PRESETS.nano, 8, 2],
  ['micro', 'webgpu', MICRO, 1, 1],
  ['nano, eight by twos', 'webgl', PRESETS.nano, 8, 2],
  ['nano, eight at once', 'webgl', PRESETS.nano, 8, 8],
  ['micro', 'webgl', MICRO, 1, 1],
])('%s on %s: within 15 %% of the memory taken', async (_, backend, config, batchSize, microBatch) => {
  const open = await openBackend(backend)
  open.use()
  // The pool of webgpu never frees by itself; each case begins with an empty one.
  const { bufferManager } = tf.backend() as unknown as { bufferManager?: { dispose(): void } }
  if (backend === 'webgpu') bufferManager?.dispose()
  const shape = { backend, microBatch, accumulates: microBatch < batchSize }
  const measured = await measurePeak(config, batchSize, shape)
  expect(Math.abs(predictPeakBytes(config, shape) / measured - 1)).toBeLessThan(0.15)
})
