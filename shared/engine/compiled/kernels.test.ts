/**
 * Kernels alone against the f64 reference, at the sizes and in the variants that whole steps do not reach: every storage order
 * of the product in both ways, edges of tiles, large values, and more workgroups than one dimension has.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { randomFrom } from '../../model/random.ts'
import { type OpenDevice, openDevice } from '../gpuDevice.ts'
import { referenceLoss } from '../reference.ts'
import {
  attend,
  attendBackward,
  gatedSilu,
  type Matrix,
  matrix,
  multiply,
  multiplyTransposed,
  normalise,
  normaliseBackward,
  sumProducts,
} from '../referenceMatrix.ts'
import { type Dawn, installDawn, NO_DAWN } from '../tfjs/dawn.ts'
import { changing } from './changing.ts'
import { MOST_GROUPS, THREADS } from './kernel.ts'
import { attention, attentionBackwardKeys, attentionBackwardQueries } from './kernels/attention.ts'
import { crossEntropy, pairsOf, partialSums, STEP_NUMBERS_SIZE, stepNumbers } from './kernels/crossEntropy.ts'
import { layerNorm, layerNormBackward } from './kernels/layerNorm.ts'
import { matmul, type Order, type Product, partSize, type Tile } from './kernels/matmul.ts'
import type { Sharing } from './kernels/rows.ts'
import { sumOfParts } from './kernels/sumOfParts.ts'
import { swiglu } from './kernels/swiglu.ts'
import { makeList, scratch, type Tensor, tensor } from './plan.ts'
import { runOnce } from './runOnce.ts'

/** ‖got − wanted‖/‖wanted‖: f32 sums of these lengths give up to 1e-6, a wrong term 1e-2 and more. */
const TOLERANCE = 5e-6

const dawn: Dawn | null = await installDawn()
let open: OpenDevice

if (dawn === null) test('kernels of the compiled engine', ({ skip }) => skip(NO_DAWN))
else {
  beforeAll(async () => {
    open = await openDevice()
  })
  afterAll(() => {
    open.release()
    dawn.close()
  })

  const direct: Tile = { way: 'direct', rows: 4, columns: 4, across: 2, down: 2, depth: 4 }
  const shared: Tile = { way: 'shared', rows: 4, columns: 4, across: 2, down: 2, depth: 8 }

  describe('products', () => {
    const sizes = {
      'whole tiles': [16, 24, 16],
      'edges of vectors': [20, 12, 20],
      'prime sizes': [13, 7, 11],
    }
    const cases = [direct, shared].flatMap((tile) =>
      (['NN', 'NT', 'TN'] as const).flatMap((order) =>
        Object.entries(sizes).map(([label, size]) => ({ way: tile.way, order, label, size, tile })),
      ),
    )
    test.each(cases)('$way $order: $label', async ({ order, size, tile }) => {
      const [m = 0, n = 0, k = 0] = size
      await expectProduct({ order, m, n, k, result: 'set' }, tile)
    })

    test.each([direct, shared])('$way: batches, sums of products, adding to what is there', async (tile) => {
      const [m, n, k] = [9, 8, 12]
      const batch = { count: 2, strides: { a: 0, b: 128, c: 128 } }
      await expectProduct({ order: 'NN', m, n, k, result: 'add', batch }, tile)
      const terms = { count: 3, strides: { a: 128, b: 128 } }
      await expectProduct({ order: 'NT', m, n, k, result: 'residual', terms }, tile)
    })
  })

  // 3 parts of 8, 8 and 7 rows, of a batch whose matrices are no multiple of four elements.
  test.each([direct, shared])('$way: a product in parts of its depth, added up', async (tile) => {
    const batch = { count: 2, strides: { a: 0, b: 192, c: 64 } }
    await expectSplit(
      { order: 'TN', m: 5, n: 7, k: 23, result: 'set', batch, splits: 3 },
      { ...tile, depth: 8 },
    )
    await expectSplit({ order: 'TN', m: 8, n: 4, k: 24, result: 'set', splits: 2 }, tile)
  })

  test.each([1, 8])('LayerNorm with %i threads a row, of rows far from zero', async (threadsPerRow) => {
    const [rows, width] = [70, 44]
    const x = random(rows, width, 'x', (value, i) => 1_000 * Math.floor(i / width) + value)
    const [gain, dy, sum] = [random(1, width, 'gain'), random(rows, width, 'dy'), random(rows, width, 'sum')]
    const normed = normalise(x, gain)
    const dx = normaliseBackward(dy, normed, gain, matrix(1, width))
    const shape = { rows, width, threadsPerRow }
    const given = { x, gain, dy, dx: sum }
    const of = tensorsFor(given)
    const [y, stats] = [tensor('y', rows * width), scratch('stats', 2 * rows)]
    const list = makeList()
    list.run('forward', layerNorm(shape), of.x, of.gain, y, stats)
    list.run('backward', layerNormBackward(shape, true), of.dy, of.x, of.gain, stats, of.dx)
    const got = await runOnce(open, list, valuesOf(given, of), { y, dx: of.dx })
    // Of numbers around 70,000, f32 keeps two decimals.
    expect(distance(got.y, normed.y.values)).toBeLessThan(2e-2)
    expect(distance(got.y.subarray(0, width), normed.y.values.subarray(0, width))).toBeLessThan(TOLERANCE)
    const wanted = dx.values.map((value, i) => value + (sum.values[i] ?? 0))
    expect(distance(got.dx, wanted)).toBeLessThan(2e-2)
  })

  // SwiftShader's have 4 threads; larger ones are made of shared memory here, in the same kernel.
  test.each([4, 8, 16, 32, 64, 128])('rows summed in subgroups of %i threads', async (size) => {
    const emulated = (name: string, pair: string) => `
fn ${name}(value: f32, lane: u32) -> f32 {
  workgroupBarrier();
  threads_[lane] = value;
  workgroupBarrier();
  let first = lane / ${size}u * ${size}u;
  var all = threads_[first];
  for (var at = first + 1u; at < min(first + ${size}u, 32u); at++) { all = ${pair}; }
  return all;
}`
    const sized = changing(open, {
      'enable subgroups;': '',
      ', @builtin(subgroup_size) size: u32': '',
      'subgroupSize = size;': `subgroupSize = ${size}u;`,
      'subgroupAdd(value)': 'addOf(value, lane)',
      'subgroupMax(value)': 'mostOf(value, lane)',
      'var<private> subgroupSize: u32;': `var<private> subgroupSize: u32;
var<workgroup> threads_: array<f32, 32>;
${emulated('addOf', 'all + threads_[at]')}
${emulated('mostOf', 'max(all, threads_[at])')}`,
    })
    await expectRows(sized, { threadsPerRow: 32, subgroups: true })
  })

  test.each([
    { threadsPerRow: 1 },
    { threadsPerRow: 8 },
    { threadsPerRow: 2, subgroups: true },
    { threadsPerRow: 64, subgroups: true },
  ])('rows shared by $threadsPerRow threads, by subgroups: $subgroups', async (sharing) => {
    await expectRows(open, sharing)
  })

  // Scores of ±90: e to that power overflows f32 if the maximum is not taken out first.
  test.each([
    { rows: 1, atOnce: 3 },
    { rows: 3, atOnce: 1 },
    { rows: 2, atOnce: 2 },
    { rows: 1, atOnce: 1, tiled: true },
    { rows: 1, atOnce: 1, tiled: true, sequences: 1, heads: 1, headDim: 64, length: 37 },
    { rows: 1, atOnce: 1, tiled: true, sequences: 1, heads: 1, headDim: 128, length: 13 },
  ])(
    'attention with large scores: %o',
    async ({ sequences = 2, heads = 3, headDim = 6, length = 19, ...way }) => {
      const [rows, d] = [sequences * length, heads * headDim]
      const far = 15 / Math.sqrt(headDim) // scores of about as much, whatever the width
      const large = (name: string) => random(rows, d, name, (value) => far * value)
      const given = {
        q: large('q'),
        k: large('k'),
        v: random(rows, d, 'v'),
        dMerged: random(rows, d, 'dMerged'),
      }
      const { merged, probabilities } = attend(given.q, given.k, given.v, heads, length)
      const slopes = attendBackward(given.dMerged, given.q, given.k, given.v, probabilities, heads, length)
      const of = tensorsFor(given)
      const made = {
        merged: tensor('merged', rows * d),
        dq: tensor('dq', rows * d),
        dk: tensor('dk', rows * d),
      }
      const [dv, sums, along] = [
        tensor('dv', rows * d),
        scratch('sums', rows * heads),
        scratch('along', rows * heads),
      ]
      const shape = { sequences, length, heads, headDim, ...way }
      const list = makeList()
      list.run('forward', attention(shape), of.q, of.k, of.v, made.merged, sums)
      list.run(
        'queries',
        attentionBackwardQueries(shape),
        ...[of.q, of.k, of.v, made.merged, of.dMerged, sums, along, made.dq],
      )
      list.run('keys', attentionBackwardKeys(shape), of.q, of.k, of.v, of.dMerged, sums, along, made.dk, dv)
      const got = await runOnce(open, list, valuesOf(given, of), { ...made, dv })
      // A score of 90 is rounded by 4e-6, and e to it by as much.
      for (const [name, { values }] of Object.entries({ merged, ...slopes }))
        expect(distance(got[name as keyof typeof got], values)).toBeLessThan(2e-5) // the same four
    },
  )

  test('SwiGLU far from zero is zero or the product, never no number', async () => {
    const gate = matrix(1, 4, Float64Array.of(-1e4, -100, 100, 1e4))
    const up = matrix(1, 4, Float64Array.of(2, 2, 2, 2))
    const gateUp = tensor('gate, up', 8)
    const mixed = tensor('mixed', 4)
    const list = makeList()
    list.run('SwiGLU', swiglu(4, 4), gateUp, mixed)
    const given = new Map([[gateUp, Float32Array.of(...gate.values, ...up.values)]])
    const got = await runOnce(open, list, given, { mixed })
    expect(distance(got.mixed, gatedSilu(gate, up).values)).toBeLessThan(TOLERANCE)
  })

  // 2,000 · 2,000 is more than f16 has; an infinity would be no number in the next sum.
  test('a state beyond the largest number of f16 is stored as that', async () => {
    const [gateUp, mixed] = [tensor('gate, up', 8), tensor('mixed', 4)]
    const list = makeList()
    list.run('SwiGLU', swiglu(4, 4, 'rounded'), gateUp, mixed)
    const values = Float32Array.of(2_000, 1, 2_000, 0, 2_000, 1, -2_000, 1)
    const got = await runOnce(open, list, new Map([[gateUp, values]]), { mixed })
    const one = Math.round((2 ** 11 * 1) / (1 + Math.exp(-1))) / 2 ** 11 // to 11 bits
    expect([...got.mixed]).toEqual([65_504, one, -65_504, 0])
  })

  // A batch of 65,536 rows: unscaled, of the slopes of 1.5e-5 · e^(logit)/Σ nearly all would be below what f16 has.
  test('gradients of logits survive f16 in large batches', async () => {
    const [rows, width, batch] = [3, 200, 65_536]
    const logits = random(rows, width, 'logits')
    const targets = [7, 0, 199]
    const wanted = referenceLoss(logits, targets).dLogits.values.map((slope) => (slope * rows) / batch)
    const chunk = { rows, firstRow: 0, columns: width, parts: 4, length: 1, threadsPerRow: 1 }
    const half = { ...chunk, element: 'rounded' as const }
    const of = tensorsFor({ logits })
    const [found, ids] = [tensor('found', 2 * rows * pairsOf(half)), tensor('ids', 2 * rows)]
    const [losses, numbers] = [tensor('losses', rows), tensor('numbers', STEP_NUMBERS_SIZE)]
    const list = makeList()
    list.run('sums', partialSums(half), of.logits, found)
    list.run('slopes', crossEntropy(half, true), ids, found, of.logits, losses, numbers)
    const factors = stepNumbers({ keep: 1, rate: 0, unbias: 1, rows: batch }, 'rounded')
    const given = new Map<Tensor, Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>>([
      ...valuesOf({ logits }, of),
      [ids, Uint32Array.from(targets.flatMap((target) => [0, target]))],
      [numbers, factors],
    ])
    const got = await runOnce(open, list, given, { slopes: of.logits })
    const unscale = factors[5] as number // StepNumbers
    const slopes = got.slopes.map((slope) => slope * unscale)
    expect(distance(slopes, wanted)).toBeLessThan(1e-3)
    // Those of all other ids alone, which are small.
    const others = (all: ArrayLike<number>) =>
      Array.from(all).filter((_, i) => i % width !== targets[Math.floor(i / width)])
    expect(distance(others(slopes), others(wanted))).toBeLessThan(1e-3)
  })

  test('an odd number of elements that takes more workgroups than a dimension has', async () => {
    const count = MOST_GROUPS * THREADS + 65
    const [gateUp, mixed] = [tensor('gate, up', 2 * count + 2), tensor('mixed', count)]
    const list = makeList()
    list.run('SwiGLU', swiglu(count, count + 1), gateUp, mixed)
    const values = Float32Array.from({ length: gateUp.size }, (_, i) => (i % 1_013) / 500)
    const got = await runOnce(open, list, new Map([[gateUp, values]]), { mixed })
    const part = (from: number) => matrix(1, count, Float64Array.from(values.subarray(from, from + count)))
    expect(distance(got.mixed, gatedSilu(part(0), part(count + 1)).values)).toBeLessThan(TOLERANCE)
  })

  test('more rows than a dimension has workgroups, each with a workgroup of its own', async () => {
    const [rows, width] = [MOST_GROUPS + 70, 4]
    const given = { x: random(rows, width, 'x'), gain: random(1, width, 'gain') }
    const of = tensorsFor(given)
    const [y, stats] = [tensor('y', rows * width), scratch('stats', 2 * rows)]
    const list = makeList()
    list.run('norm', layerNorm({ rows, width, threadsPerRow: 2 }), of.x, of.gain, y, stats)
    const got = await runOnce(open, list, valuesOf(given, of), { y })
    expect(distance(got.y, normalise(given.x, given.gain).y.values)).toBeLessThan(TOLERANCE)
  })
}

/** The mean and the deviation of rows, and the largest logit and the sum of their powers. */
async function expectRows(device: OpenDevice, sharing: Sharing): Promise<void> {
  if (sharing.subgroups && !device.features.subgroups) throw new Error('This driver has no subgroups.')
  const [rows, width] = [5, 332]
  const given = { x: random(rows, width, 'x', (value) => 20 * value), gain: random(1, width, 'gain') }
  const of = tensorsFor(given)
  const chunk = { rows, firstRow: 0, columns: width, parts: 4, length: 1, ...sharing }
  const [y, stats] = [tensor('y', rows * width), tensor('stats', 2 * rows)]
  const found = tensor('found', 2 * rows * pairsOf(chunk))
  const list = makeList()
  list.run('norm', layerNorm({ rows, width, ...sharing }), of.x, of.gain, y, stats)
  list.run('sums', partialSums(chunk), of.x, found)
  const got = await runOnce(device, list, valuesOf(given, of), { y, found })
  expect(distance(got.y, normalise(given.x, given.gain).y.values)).toBeLessThan(TOLERANCE)
  for (let row = 0; row < rows; row++) {
    const logits = given.x.values.subarray(row * width, (row + 1) * width)
    const pairs = got.found.subarray(2 * row * pairsOf(chunk), 2 * (row + 1) * pairsOf(chunk))
    let sum = 0 // Σ e^logit, in the pairs' own scales
    for (let at = 0; at < pairs.length; at += 2)
      sum += Math.exp(pairs[at] as number) * (pairs[at + 1] as number) // whole pairs
    const wanted = logits.reduce((all, logit) => all + Math.exp(logit), 0)
    expect(Math.abs(sum / wanted - 1)).toBeLessThan(TOLERANCE)
  }
}

/** Compares a product with the reference's, in each matrix of a batch. */
async function expectProduct(product: Product, tile: Tile): Promise<void> {
  const { m, n, k, order, batch, terms, result } = product
  const [count, sum] = [batch?.count ?? 1, terms?.count ?? 1]
  const [strideA, strideB, strideC] = [
    batch?.strides.a || (terms?.strides.a ?? 0),
    batch?.strides.b || (terms?.strides.b ?? 0),
    batch?.strides.c ?? 0,
  ]
  const many = Math.max(count, sum)
  const a = random(1, Math.max(m * k, many * strideA), 'a')
  const b = random(1, Math.max(k * n, many * strideB), 'b')
  const c = random(1, Math.max(m * n, many * strideC), 'c')
  const given = { a, b, c }
  const of = tensorsFor(given)
  const out = result === 'residual' ? tensor('out', m * n) : of.c
  const list = makeList()
  list.run('product', matmul(product, tile), of.a, of.b, ...(result === 'residual' ? [of.c, out] : [out]))
  const got = await runOnce(open, list, valuesOf(given, of), { out })
  for (let at = 0; at < count; at++) {
    const wanted =
      result === 'set' ? matrix(m, n) : matrix(m, n, c.values.slice(at * strideC, at * strideC + m * n))
    for (let term = 0; term < sum; term++) {
      const from = (values: Float64Array, stride: number, size: number, batched: boolean) =>
        values.subarray((batched ? at : term) * stride, (batched ? at : term) * stride + size)
      const left = from(a.values, batch ? batch.strides.a : strideA, m * k, batch !== undefined)
      const right = from(b.values, strideB, k * n, batch !== undefined)
      addProduct(wanted, order, k, left, right)
    }
    expect(distance(got.out.subarray(at * strideC, at * strideC + m * n), wanted.values)).toBeLessThan(
      TOLERANCE,
    )
  }
}

/** The same product whole and split, each added to the same C. */
async function expectSplit(product: Product, tile: Tile): Promise<void> {
  const { m, n, k, batch, splits = 1 } = product
  const count = batch?.count ?? 1
  const size = (each: number, stride = 0) => Math.max(each, count * stride)
  const given = {
    a: random(1, size(m * k, batch?.strides.a), 'a'),
    b: random(1, size(k * n, batch?.strides.b), 'b'),
    c: random(1, size(m * n, batch?.strides.c), 'c'),
  }
  const of = tensorsFor(given)
  const parts = scratch('parts', splits * count * partSize(product))
  const list = makeList()
  list.run('product', matmul(product, tile), of.a, of.b, parts)
  const [each, stride] = [partSize(product), batch?.strides.c ?? 0]
  const places = Array.from({ length: count }, (_, at) => {
    return { width: m * n, from: at * each, stride: count * each, parts: splits, to: at * stride }
  })
  list.run('sum', sumOfParts(places), parts, of.c)
  const got = await runOnce(open, list, valuesOf(given, of), { c: of.c })
  for (let at = 0; at < count; at++) {
    const part = ({ values }: Matrix, stride: number, rows: number, columns: number) =>
      matrix(rows, columns, values.slice(at * stride, at * stride + rows * columns))
    const { a: strideA = 0, b: strideB = 0, c: strideC = 0 } = batch?.strides ?? {}
    const wanted = part(given.c, strideC, m, n)
    sumProducts(wanted, part(given.a, strideA, k, m), part(given.b, strideB, k, n))
    expect(distance(got.c.subarray(at * strideC, at * strideC + m * n), wanted.values)).toBeLessThan(
      TOLERANCE,
    )
  }
}

function addProduct(sum: Matrix, order: Order, k: number, a: Float64Array, b: Float64Array): void {
  const { rows: m, columns: n, values } = sum
  if (order === 'TN') {
    sumProducts(sum, matrix(k, m, a), matrix(k, n, b))
    return
  }
  const whole =
    order === 'NN'
      ? multiply(matrix(m, k, a), matrix(k, n, b))
      : multiplyTransposed(matrix(m, k, a), matrix(n, k, b))
  for (const [i, value] of whole.values.entries()) values[i] = (values[i] as number) + value // of one shape
}

/** Uniform between −2 and 2, changed by `change`, exact in f32. */
function random(
  rows: number,
  columns: number,
  seed: string,
  change = (value: number, _index: number) => value,
): Matrix {
  const uniform = randomFrom(seed)
  const values = Float64Array.from({ length: rows * columns }, (_, i) =>
    Math.fround(change(4 * uniform() - 2, i)),
  )
  return matrix(rows, columns, values)
}

/** A tensor for each matrix. */
function tensorsFor<Name extends string>(given: Record<Name, Matrix>) {
  const entries = Object.entries<Matrix>(given).map(([name, { values }]) => [
    name,
    tensor(name, values.length),
  ])
  return Object.fromEntries(entries) as Record<Name, ReturnType<typeof tensor>> // the same names
}

function valuesOf<Name extends string>(
  given: Record<Name, Matrix>,
  of: Record<Name, ReturnType<typeof tensor>>,
) {
  const names = Object.keys(given) as Name[]
  return new Map(names.map((name) => [of[name], Float32Array.from(given[name].values)]))
}

function distance(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  let [difference, size] = [0, 0]
  for (let i = 0; i < wanted.length; i++) {
    difference += ((got[i] ?? Number.NaN) - (wanted[i] as number)) ** 2
    size += (wanted[i] as number) ** 2
  }
  return Math.sqrt(difference / size)
}
