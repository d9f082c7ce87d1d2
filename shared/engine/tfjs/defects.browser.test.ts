/**
 * Defects of TensorFlow.js 4.22.0's webgpu backend that we work around, and the end of a device. Each of the first
 * fails when upstream mends the defect: then the workaround it names can go.
 */
import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, expect, test } from 'vitest'
import { TINY } from '../contract.ts'
import { openBackend } from './backend.ts'
import { MOST_SOFTMAX_ROWS } from './chunks.ts'
import { createTfjsEngine } from './createTfjsEngine.ts'

beforeAll(async () => {
  await openBackend('webgpu')
})

test('AddN of more than seven is stale: loss.ts and deviceAdamW.ts add two at a time', async () => {
  const parts = Array.from({ length: 12 }, () => tf.ones([40, 40]))
  // On the device first, so that only the sum is in the command buffer that fails.
  for (const part of parts) await tf.add(part, 1).data()
  const sum = await tf.addN(parts).data()
  expect(sum[0]).not.toBe(12)
})

test('a softmax of more than 65,535 rows has wrong ones: attention.ts and loss.ts go by chunks', async () => {
  expect(await lastSoftmaxError(70_001)).toBeGreaterThan(0.01)
})

test('a softmax of as many rows as a chunk has at most is right', async () => {
  expect(await lastSoftmaxError(MOST_SOFTMAX_ROWS)).toBeLessThan(1e-6)
})

/** Of the last of so many rows, which all are 1, 2, 3. */
async function lastSoftmaxError(rows: number): Promise<number> {
  const logits = tf.tile(tf.tensor2d([[1, 2, 3]]), [rows, 1])
  const last = await tf.slice(tf.softmax(logits), [rows - 1, 0]).data()
  const wanted = [0.09003057, 0.24472847, 0.66524096] // e^i / (e + e² + e³)
  return Math.max(...wanted.map((w, i) => Math.abs(w - (last[i] ?? 0))))
}

test('when the device dies, waiting and later calls reject with engine/device-lost', async () => {
  const engine = await createTfjsEngine({ backend: 'webgpu', config: TINY })
  // The backend's public field.
  const { device } = tf.backend() as unknown as { device: GPUDevice }
  const waiting = engine.getParameters()
  device.destroy()
  await expect(waiting).rejects.toMatchObject({ code: 'engine/device-lost' })
  await device.lost
  await expect(engine.getOptimiserState()).rejects.toMatchObject({ code: 'engine/device-lost' })
})
