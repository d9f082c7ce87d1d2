/** heapKernels.ts against plainKernels.ts and against numbers worked by hand, on odd sizes. */
import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, expect, test } from 'vitest'
import { TINY } from '../contract.ts'
import { openBackend } from './backend.ts'
import { heapKernels } from './heapKernels.ts'
import { nodeWasmPaths } from './nodeWasmPaths.ts'
import { plainKernels } from './plainKernels.ts'
import { rotationTables } from './shapes.ts'

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

test('rotation and its way back', () => {
  const { cos, sin } = rotationTables({ ...TINY, sequenceLength: 3, headDim: 4 }, 0.5)
  const x = batch(6, 3, 4)
  expectEqual(heapKernels.rotate(x, { cos, sin }), plainKernels.rotate(x, { cos, sin }))
  expectEqual(heapKernels.rotateBackward(x, { cos, sin }), plainKernels.rotateBackward(x, { cos, sin }))
})

test('columns apart and together again', () => {
  const x = matrix(5, 12)
  const parts = heapKernels.splitColumns(x, 3)
  parts.forEach((part, i) => {
    expectEqual(part, tf.slice(x, [0, 4 * i], [5, 4]))
  })
  expectEqual(heapKernels.joinColumns(parts), x)
  expectEqual(tf.slice(heapKernels.joinColumns([matrix(5, 3), parts[0]]), [0, 3]), parts[0])
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
