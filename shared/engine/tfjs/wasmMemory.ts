/**
 * TensorFlow.js's wasm backend seen from below: views of its memory, new tensors in it, and its matrix product on
 * parts of a tensor. Only for use while wasm is the current backend. Pinned to 4.22.0, whose internals it uses.
 *
 * XNNPACK packs and keeps the right-hand matrix of a product by tensor id and does not see a later change in place:
 * output tensors are new ones, and whoever changes one in place calls `forgetPacked`.
 */
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm'
import * as tf from '@tensorflow/tfjs-core'

/** Its type is imported here, its code is not: the caller has made it the current backend. */
const wasm = () => tf.backend() as BackendWasm

/** A live view. An allocation may grow the memory and detach it: make all outputs first, then take views. */
export function floats(tensor: tf.TensorInfo): Float32Array {
  return wasm().typedArrayFromHeap(tensor) as Float32Array // every caller's tensor is float32
}

export function integers(tensor: tf.TensorInfo): Int32Array {
  return wasm().typedArrayFromHeap(tensor) as Int32Array // every caller's tensor is int32
}

/** A new float32 tensor with whatever the memory held before. */
export function output<R extends tf.Rank>(shape: tf.ShapeMap[R]): tf.Tensor<R> {
  // The tensor has the rank of the shape it is given.
  return tf.engine().makeTensorFromTensorInfo(wasm().makeOutput(shape, 'float32')) as tf.Tensor<R>
}

/** Drops the packed copy that XNNPACK keeps of a matrix, so that a change in place is seen by the next product. */
export function forgetPacked(tensor: tf.Tensor): void {
  const { id, memoryOffset } = wasm().dataIdMap.get(tensor.dataId)
  wasm().wasm.tfjs.disposeData(id)
  wasm().wasm.tfjs.registerTensor(id, tensor.size, memoryOffset)
}

type Multiply = (
  ...args: [number, Uint8Array, number, number, Uint8Array, number, number, number, number]
) => void

/** Ids for views; the backend itself counts up from 1. */
const FIRST_VIEW_ID = 2 ** 30
const VIEW_IDS = { a: FIRST_VIEW_ID, b: FIRST_VIEW_ID + 1, out: FIRST_VIEW_ID + 2 }

/**
 * a[i]·b[i] for every i: [G, m, k] and [G, k, n] → [G, m, n]. The backend gives XNNPACK only products of single
 * matrices and runs batches in a plain loop, 8 to 10 times slower at the sizes of an attention head (64×32×64:
 * 32 of them in 1.2 instead of 7.9 ms). So each matrix is registered as a tensor of its own, without a copy.
 */
export function productsOneByOne(a: tf.Tensor3D, b: tf.Tensor3D): tf.Tensor3D {
  const [count, m, k] = a.shape
  const n = b.shape[2]
  const out = output<tf.Rank.R3>([count, m, n])
  const multiply = backendProduct()
  const [shapeA, shapeB] = [bytesOf([1, m, k]), bytesOf([1, k, n])]
  for (let i = 0; i < count; i++) {
    register(VIEW_IDS.a, a, i, m * k)
    register(VIEW_IDS.b, b, i, k * n)
    register(VIEW_IDS.out, out, i, m * n)
    multiply(VIEW_IDS.a, shapeA, 3, VIEW_IDS.b, shapeB, 3, 0, 0, VIEW_IDS.out)
    // Also drops the packed matrix that XNNPACK keeps for the id.
    for (const id of Object.values(VIEW_IDS)) wasm().wasm.tfjs.disposeData(id)
  }
  return out
}

let product: { of: BackendWasm; call: Multiply } | null = null

function backendProduct(): Multiply {
  const backend = wasm()
  if (product?.of !== backend) {
    const number = 'number'
    const types = [number, 'array', number, number, 'array', number, number, number, number]
    // Emscripten's own call wrapper; the package's types leave it out.
    const module = backend.wasm as unknown as { cwrap(name: string, result: null, types: string[]): Multiply }
    product = { of: backend, call: module.cwrap('BatchMatMul', null, types) }
  }
  return product.call
}

function register(id: number, tensor: tf.Tensor, index: number, size: number): void {
  const { memoryOffset } = wasm().dataIdMap.get(tensor.dataId)
  wasm().wasm.tfjs.registerTensor(id, size, memoryOffset + index * size * Float32Array.BYTES_PER_ELEMENT)
}

const bytesOf = (shape: number[]) => new Uint8Array(new Int32Array(shape).buffer)
