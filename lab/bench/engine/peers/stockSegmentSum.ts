/** UnsortedSegmentSum for TensorFlow.js's wasm backend, which has none; without it `tf.gather` has no gradient. */

import * as tf from '@tensorflow/tfjs'
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm'

/** Registers the kernel, unless this version of the backend has it. */
export function registerSegmentSum(): void {
  if (tf.getKernel(tf.UnsortedSegmentSum, 'wasm')) return
  tf.registerKernel({
    kernelName: tf.UnsortedSegmentSum,
    backendName: 'wasm',
    kernelFunc({ inputs, attrs, backend }) {
      // What tf.unsortedSegmentSum gives its kernel, on the backend registered for.
      const { x, segmentIds } = inputs as Record<'x' | 'segmentIds', tf.TensorInfo>
      const { numSegments } = attrs as unknown as tf.UnsortedSegmentSumAttrs
      return segmentSum(backend as BackendWasm, x, segmentIds, numSegments)
    },
  })
}

/** x: [rows, ...] float32; ids: [rows] int32 → [count, ...] */
function segmentSum(backend: BackendWasm, x: tf.TensorInfo, ids: tf.TensorInfo, count: number) {
  const result = backend.makeOutput([count, ...x.shape.slice(1)], 'float32')
  const to = backend.typedArrayFromHeap(result).fill(0)
  const from = backend.typedArrayFromHeap(x)
  const rows = backend.typedArrayFromHeap(ids)
  const width = from.length / rows.length
  rows.forEach((id, row) => {
    const sum = to.subarray(id * width, (id + 1) * width)
    for (let i = 0; i < width; i++) sum[i] = (sum[i] as number) + (from[row * width + i] as number) // in range
  })
  return result
}
