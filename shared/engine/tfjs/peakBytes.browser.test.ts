/** peakBytes.ts in a browser: what WebGPU's buffers and WebGL's textures come to. wasm does the same in Node. */
import * as tf from '@tensorflow/tfjs-core'
import { expect, test } from 'vitest'
import { type ModelConfig, PRESETS } from '../../model/config.ts'
import type { Backend } from '../engine.ts'
import { openBackend } from './backend.ts'
import { predictPeakBytes } from './peakBytes.ts'
import { measurePeak } from './peakBytesCases.ts'

const MICRO = { ...PRESETS.micro, sequenceLength: 64 }
const LONG = { ...PRESETS.nano, sequenceLength: 256 }

/** WebGL keeps freed textures by their shape, and how many shapes a size has in common is not predicted. */
const BOUNDS = { wasm: 0.15, webgpu: 0.15, webgl: 0.25 }

test.each<[string, Backend, ModelConfig, number, number]>([
  ['nano, eight by twos', 'webgpu', PRESETS.nano, 8, 2],
  ['nano, eight by twos', 'webgl', PRESETS.nano, 8, 2],
  ['a long sequence', 'webgl', LONG, 1, 1],
  ['micro', 'webgl', MICRO, 1, 1],
])(
  '%s: the prediction is near the memory that %s takes',
  async (_, backend, config, batchSize, microBatch) => {
    await openBackend(backend)
    await emptyPool(backend)
    const shape = { backend, microBatch, accumulates: microBatch < batchSize }
    const measured = await measurePeak(config, batchSize, shape)
    expect(Math.abs(predictPeakBytes(config, shape) / measured - 1)).toBeLessThan(BOUNDS[backend])
  },
)

/** Neither pool ever frees; each case begins with an empty one. WebGL's goes with its backend only. */
async function emptyPool(backend: Backend): Promise<void> {
  if (backend === 'webgpu') {
    const { bufferManager } = tf.backend() as unknown as { bufferManager: { dispose(): void } }
    bufferManager.dispose()
    return
  }
  const makeBackend = tf.findBackendFactory(backend)
  tf.removeBackend(backend)
  tf.registerBackend(backend, makeBackend)
  await openBackend(backend)
}
