/** peakBytes.ts on WebGPU: what the device's buffers come to. wasm does the same in Node: peakBytes.test.ts. */
import * as tf from '@tensorflow/tfjs-core'
import { expect, test } from 'vitest'
import { PRESETS } from '../../model/config.ts'
import { openBackend } from './backend.ts'
import { predictPeakBytes } from './peakBytes.ts'
import { measurePeak } from './peakBytesCases.ts'

test.each([
  ['nano, eight by twos', PRESETS.nano, 8, 2],
  ['micro', { ...PRESETS.micro, sequenceLength: 64 }, 1, 1],
])(
  '%s: within 15 %% of the device memory taken',
  async (_, config, batchSize, microBatch, recomputesBlocks = false) => {
    await openBackend('webgpu')
    // The pool never frees by itself; each case begins with an empty one.
    const { bufferManager } = tf.backend() as unknown as { bufferManager: { dispose(): void } }
    bufferManager.dispose()
    const shape = {
      backend: 'webgpu',
      microBatch,
      accumulates: microBatch < batchSize,
      recomputesBlocks,
    } as const
    const measured = await measurePeak(config, batchSize, shape)
    expect(Math.abs(predictPeakBytes(config, shape) / measured - 1)).toBeLessThan(0.15)
  },
)
