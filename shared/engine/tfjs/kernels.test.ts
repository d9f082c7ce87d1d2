/** heapKernels.ts against plainKernels.ts and against numbers worked by hand, on odd sizes. */
import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, expect, test } from 'vitest'
import { TINY } from '../contract.ts'
import { openBackend } from './backend.ts'
import { heapKernels } from './heapKernels.ts'
import type { Heads } from './kernels.ts'
import { nodeWasmPaths } from './nodeWasmPaths.ts'
import { plainKernels } from './plainKernels.ts'
import { rotationTables } from './rotation.ts'

beforeAll(async () => {
  await openBackend('wasm', nodeWasmPaths())
})

let seed = 0
const matrix = (rows: number, columns: number) =>
  tf.randomNormal<tf.Rank.R2>([rows, columns], 0, 1, 'float32', ++seed)
const batch = (...shape: [number, number, number]) =>
  tf.randomNormal<tf.Rank.R3>(shape, 0, 1, 'float32', ++seed)
const row = (length: number) => tf.randomNormal<tf.Rank.R1>([length], 0, 1, 'float32', ++seed)
const ids = (...list: number[]) => tf.tensor1d(list, 'int32')

function expectEqual(got: tf.Tensor, wanted: tf.Tensor) {
  expect(got.shape).toEqual(wanted.shape)
  const values = wanted.dataSync()
  got.dataSync().forEach((value, i) => {
    expect(value).toBeCloseTo(values[i] ?? Number.NaN, 4)
  })
}

type Sizes<Rank extends 2 | 3> = Rank extends 2 ? [number, number] : [number, number, number]

test.each<['productWithTransposed' | 'transposedProduct', Sizes<2>, Sizes<2>]>([
  ['productWithTransposed', [13, 7], [11, 7]],
  ['transposedProduct', [13, 7], [13, 11]],
  ['transposedProduct', [13, 11], [13, 7]],
  ['transposedProduct', [19, 37], [19, 2]],
])('%s of %j and %j', (name, a, b) => {
  const [x, y] = [matrix(...a), matrix(...b)]
  expectEqual(heapKernels[name](x, y), plainKernels[name](x, y))
})

test.each<['products' | 'productsWithTransposed' | 'transposedProducts', Sizes<3>, Sizes<3>]>([
  ['products', [5, 13, 7], [5, 7, 11]],
  ['productsWithTransposed', [5, 13, 7], [5, 11, 7]],
  ['transposedProducts', [5, 13, 7], [5, 13, 11]],
])('%s of %j and %j', (name, a, b) => {
  const [x, y] = [batch(...a), batch(...b)]
  expectEqual(heapKernels[name](x, y), plainKernels[name](x, y))
})

test('LayerNorm forward and backward', () => {
  const [x, gain, dy] = [matrix(9, 10), row(10), matrix(9, 10)]
  const [heap, plain] = [heapKernels.layerNorm(x, gain), plainKernels.layerNorm(x, gain)]
  expectEqual(heap.y, plain.y)
  expectEqual(heap.unit, plain.unit)
  expectEqual(heap.scale, plain.scale)
  const back = heapKernels.layerNormBackward(dy, heap, gain)
  const wanted = plainKernels.layerNormBackward(dy, plain, gain)
  expectEqual(back.dx, wanted.dx)
  expectEqual(back.dGain, wanted.dGain)
})

test('heads apart, normed and rotated, and the way back', () => {
  const config = { ...TINY, sequenceLength: 3, heads: 5, headDim: 4 }
  const tables = { heads: 5, query: rotationTables(config, 0.5), key: rotationTables(config, 1) }
  const gains = { query: row(4), key: row(4) }
  const qkv = matrix(2 * 3, 3 * 5 * 4)
  const [heap, plain] = [
    heapKernels.splitHeads(qkv, gains, tables),
    plainKernels.splitHeads(qkv, gains, tables),
  ]
  for (const i of [0, 1, 2] as const) expectEqual(heap.heads[i], plain.heads[i])
  for (const part of ['query', 'key'] as const) {
    expectEqual(heap[part].unit, plain[part].unit)
    expectEqual(heap[part].scale, plain[part].scale)
  }
  const dHeads: Heads = [batch(10, 3, 4), batch(10, 3, 4), batch(10, 3, 4)]
  const back = heapKernels.splitHeadsBackward(dHeads, plain, gains, tables)
  const wanted = plainKernels.splitHeadsBackward(dHeads, plain, gains, tables)
  for (const name of ['dQkv', 'dQuery', 'dKey'] as const) expectEqual(back[name], wanted[name])
  expectEqual(heapKernels.mergeHeads(dHeads[0], 5), plainKernels.mergeHeads(dHeads[0], 5))
  const merged = plainKernels.mergeHeads(dHeads[0], 5)
  expectEqual(heapKernels.mergeHeadsBackward(merged, 5, 3), dHeads[0])
  expectEqual(plainKernels.mergeHeadsBackward(merged, 5, 3), dHeads[0])
})

test('SwiGLU and its way back', () => {
  const [both, dy] = [matrix(5, 14), matrix(5, 7)]
  expectEqual(heapKernels.gatedSilu(both), plainKernels.gatedSilu(both))
  expectEqual(heapKernels.gatedSiluBackward(dy, both), plainKernels.gatedSiluBackward(dy, both))
  // silu(2)·3 = 2·3/(1 + e⁻²), by hand
  expectEqual(heapKernels.gatedSilu(tf.tensor2d([[2, 3]])), tf.tensor2d([[5.284782]]))
})

test('the way back through a softmax', () => {
  const [dp, p] = [batch(3, 5, 5), tf.softmax(batch(3, 5, 5)) as tf.Tensor3D]
  expectEqual(heapKernels.softmaxBackward(dp, p), plainKernels.softmaxBackward(dp, p))
})

test('columns apart and together again', () => {
  const x = matrix(5, 12)
  const parts = heapKernels.splitColumns(x, 3)
  parts.forEach((part, i) => {
    expectEqual(part, tf.slice(x, [0, 4 * i], [5, 4]))
  })
  expectEqual(heapKernels.joinColumns(parts), x)
  const two = [matrix(5, 3), matrix(5, 4)]
  expectEqual(heapKernels.joinColumns(two), tf.concat(two, 1))
})

test('rows by id', () => {
  const table = tf.tensor2d([
    [1, 2],
    [3, 4],
    [5, 6],
  ])
  expectEqual(
    heapKernels.rowsOf(table, ids(2, 0, 2)),
    tf.tensor2d([
      [5, 6],
      [1, 2],
      [5, 6],
    ]),
  )
})

test('rows summed by id; an id that never occurs has zeros', () => {
  const rows = tf.tensor2d([
    [1, 2],
    [3, 4],
    [5, 6],
  ])
  expectEqual(
    heapKernels.sumByIds(rows, ids(3, 0, 3), 4),
    tf.tensor2d([
      [3, 4],
      [0, 0],
      [0, 0],
      [6, 8],
    ]),
  )
})
