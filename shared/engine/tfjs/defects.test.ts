/**
 * Defects of TensorFlow.js 4.22.0's wasm backend that we work around. Each test fails when upstream mends the
 * defect: then the workaround it names can go. That our own way is right is in kernels.test.ts and parts.test.ts.
 */
import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, expect, test } from 'vitest'
import { openBackend } from './backend.ts'
import { nodeWasmPaths } from './nodeWasmPaths.ts'
import { floats } from './wasmMemory.ts'

beforeAll(async () => {
  await openBackend('wasm', nodeWasmPaths())
})

test('no UnsortedSegmentSum: heapKernels.sumByIds', () => {
  expect(tf.getKernel('UnsortedSegmentSum', 'wasm')).toBeUndefined()
})

test('a float one-hot holds integer bits: loss.ts uses none', () => {
  const [first] = tf.oneHot(tf.tensor1d([0], 'int32'), 2, 1, 0, 'float32').dataSync()
  expect(first).toBeLessThan(1e-40)
})

test('a right-hand matrix changed in place is not seen: every optimiser step makes new tensors', () => {
  const weight = tf.ones<tf.Rank.R2>([64, 4])
  const x = tf.ones<tf.Rank.R2>([1, 64])
  expect(tf.matMul(x, weight).dataSync()[0]).toBe(64)
  floats(weight).fill(5)
  expect(tf.matMul(x, weight).dataSync()[0]).toBe(64)
  expect(tf.matMul(x, tf.tensor2d(weight.dataSync(), [64, 4])).dataSync()[0]).toBe(320)
})
