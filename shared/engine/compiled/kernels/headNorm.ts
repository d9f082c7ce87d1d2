/**
 * Queries and keys between projection and attention: LayerNorm of every head, then the rotary embedding, half-split.
 * Both at once: they lie in two planes, [2, N, d] with something between, heads side by side in a row, their gains too. One
 * thread has one head of one token.
 */
import { LAYER_NORM_EPSILON } from '../../../model/config.ts'
import { type Element, elementwise, type Kernel, lanesOf } from '../kernel.ts'

export interface HeadShape {
  /** N = B·T */
  readonly rows: number
  readonly heads: number
  readonly headDim: number
  /** T: positions count from 0 in each so many rows. */
  readonly length: number
  /** Elements from the queries to the keys, and from the ones' gain to the others'. */
  readonly planeStride: number
  readonly gainStride: number
  /** Of all but gains, tables and statistics. */
  readonly element?: Element
}

/** What both directions begin with: the thread's place; its vectors begin at `begin`, in loads of `wide`. */
function place({ rows, heads, headDim, length, planeStride, gainStride, element }: HeadShape) {
  const lanes = lanesOf(headDim / 2)
  const states = lanesOf(headDim / 2, element)
  const half = headDim / 2 / lanes.width
  const text = /* wgsl */ `
  let plane = i / ${rows * heads}u;
  let begin = plane * ${planeStride / lanes.width}u + i % ${rows * heads}u * ${2 * half}u;
  let position = (i / ${heads}u) % ${rows}u % ${length}u;
  let gainAt = plane * ${gainStride / lanes.width}u;
  let turn = position * ${half}u;`
  return { lanes, states, half, text }
}

const tables = (type: string) => ({ cosines: `read ${type}`, sines: `read ${type}` })

/** raw: [2, N, d] → turned: [2, N, d], stats: mean and 1/deviation, [2·N·H, 2]. cosines, sines: [T, D/2] */
export function headNorm(shape: HeadShape): Kernel {
  const { lanes, states, half, text } = place(shape)
  const { rows, heads, headDim } = shape
  const loop = (body: string) =>
    `for (var j = 0u; j < ${2 * half}u; j++) { let v = ${states.load('raw[begin + j]')}; ${body} }`
  return elementwise({
    kind: 'head norm and rotation',
    buffers: {
      raw: `read ${states.type}`,
      gain: `read ${lanes.type}`,
      ...tables(lanes.type),
      turned: `write ${states.type}`,
      stats: 'write vec2<f32>',
    },
    count: 2 * rows * heads,
    flops: 14 * 2 * rows * heads * headDim,
    body: /* wgsl */ `${text}
  var sum = 0.0;
  ${loop(`sum += ${lanes.total('v')};`)}
  let mean = sum / ${headDim}.0;
  var squares = 0.0;
  ${loop(`let c = v - mean; squares += ${lanes.total('c * c')};`)}
  let scale = inverseSqrt(squares / ${headDim}.0 + ${LAYER_NORM_EPSILON});
  stats[i] = vec2<f32>(mean, scale);
  for (var j = 0u; j < ${half}u; j++) {
    let a = (${states.load('raw[begin + j]')} - mean) * scale * gain[gainAt + j];
    let b = (${states.load(`raw[begin + ${half}u + j]`)} - mean) * scale * gain[gainAt + ${half}u + j];
    let c = cosines[turn + j];
    let s = sines[turn + j];
    turned[begin + j] = ${states.store('a * c - b * s')};
    turned[begin + ${half}u + j] = ${states.store('a * s + b * c')};
  }`,
  })
}

/** dTurned: [2, N, d] → dRaw: [2, N, d]; the gains' own gradients are headGainGradient's. */
export function headNormBackward(shape: HeadShape): Kernel {
  const { lanes, states, half, text } = place(shape)
  const { rows, heads, headDim } = shape
  const loop = (body: string) => /* wgsl */ `
  for (var j = 0u; j < ${half}u; j++) {
    let c = cosines[turn + j];
    let s = sines[turn + j];
    let a = ${states.load('dTurned[begin + j]')};
    let b = ${states.load(`dTurned[begin + ${half}u + j]`)};
    let duA = (a * c + b * s) * gain[gainAt + j];
    let duB = (b * c - a * s) * gain[gainAt + ${half}u + j];
    let unitA = (${states.load('raw[begin + j]')} - mean) * scale;
    let unitB = (${states.load(`raw[begin + ${half}u + j]`)} - mean) * scale;
    ${body}
  }`
  return elementwise({
    kind: 'head norm and rotation backward',
    buffers: {
      dTurned: `read ${states.type}`,
      raw: `read ${states.type}`,
      gain: `read ${lanes.type}`,
      ...tables(lanes.type),
      stats: 'read vec2<f32>',
      dRaw: `write ${states.type}`,
    },
    count: 2 * rows * heads,
    flops: 24 * 2 * rows * heads * headDim,
    body: /* wgsl */ `${text}
  let mean = stats[i].x;
  let scale = stats[i].y;
  var sum = 0.0;
  var along = 0.0;
  ${loop(`sum += ${lanes.total('duA + duB')}; along += ${lanes.total('duA * unitA + duB * unitB')};`)}
  let meanOfDu = sum / ${headDim}.0;
  let meanAlong = along / ${headDim}.0;
  ${loop(`dRaw[begin + j] = ${states.store('scale * (duA - meanOfDu - unitA * meanAlong)')};
    dRaw[begin + ${half}u + j] = ${states.store('scale * (duB - meanOfDu - unitB * meanAlong)')};`)}`,
  })
}
