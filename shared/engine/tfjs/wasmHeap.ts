/**
 * Loops that run in JavaScript directly on the wasm backend's memory, for what the backend lacks or does slowly.
 * They are only ever called with the wasm backend current. Output tensors are always new: XNNPACK packs and
 * keeps the right-hand matrix of a product by tensor id and would not see a change in place.
 */

import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm'
import * as tf from '@tensorflow/tfjs-core'

/** Only called while wasm is the current backend; the type is imported, its code is not. */
const wasm = () => tf.backend() as BackendWasm

/** A live view; any later allocation may grow the memory and detach it, so take views after all outputs. */
const floats = (info: tf.TensorInfo) => wasm().typedArrayFromHeap(info) as Float32Array

const output = (shape: number[]) => wasm().makeOutput(shape, 'float32')

const wrap = <T extends tf.Tensor>(info: tf.TensorInfo) =>
  // The rank is the one the caller gave to `output`.
  tf.engine().makeTensorFromTensorInfo(info) as T

/** Adds row n of `rows` to row ids[n] of a [count, width] tensor of zeros. */
export function scatterAdd(rows: tf.Tensor2D, ids: tf.Tensor1D, count: number): tf.Tensor2D {
  const width = rows.shape[1]
  const info = output([count, width])
  const sum = floats(info).fill(0)
  const from = floats(rows)
  const id = wasm().typedArrayFromHeap(ids)
  for (let n = 0; n < id.length; n++) {
    const at = (id[n] ?? 0) * width
    for (let i = 0; i < width; i++) sum[at + i] = (sum[at + i] ?? 0) + (from[n * width + i] ?? 0)
  }
  return wrap(info)
}
