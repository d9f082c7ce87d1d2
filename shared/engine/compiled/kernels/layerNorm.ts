/** LayerNorm of rows with a gain and no bias, forward and backward. */
import { LAYER_NORM_EPSILON } from '../../../model/config.ts'
import { type Element, type Kernel, lanesOf } from '../kernel.ts'
import { eachRow, type Sharing } from './rows.ts'

export interface RowShape extends Sharing {
  readonly rows: number
  readonly width: number
  /** Of y and its gradient. */
  readonly element?: Element
}

/** x: [rows, width], gain: [width] → y: [rows, width], stats: mean and 1/deviation of each row, [rows, 2] */
export function layerNorm(shape: RowShape): Kernel {
  const { rows, width, threadsPerRow, element } = shape
  const lanes = lanesOf(width)
  const out = lanesOf(width, element)
  const wide = width / lanes.width
  const loop = (body: string) =>
    `for (var j = lane; j < ${wide}u; j += ${threadsPerRow}u) { let v = x[row * ${wide}u + j]; ${body} }`
  return eachRow(shape, {
    kind: 'LayerNorm',
    buffers: {
      x: `read ${lanes.type}`,
      gain: `read ${lanes.type}`,
      y: `write ${out.type}`,
      stats: 'write vec2<f32>',
    },
    flops: 8 * rows * width,
    body: /* wgsl */ `
  var sum = 0.0;
  ${loop(`sum += ${lanes.total('v')};`)}
  let mean = total(sum, lane) / ${width}.0;
  var squares = 0.0;
  ${loop(`let c = v - mean; squares += ${lanes.total('c * c')};`)}
  let scale = inverseSqrt(total(squares, lane) / ${width}.0 + ${LAYER_NORM_EPSILON});
  ${loop(`y[row * ${wide}u + j] = ${out.store('(v - mean) * scale * gain[j]')};`)}
  if (lane == 0u) { stats[row] = vec2<f32>(mean, scale); }`,
  })
}

/**
 * dx = scale·(du − mean(du) − unit·mean(du·unit)) with du = dy·gain and unit = (x − mean)·scale; the gain's own
 * gradient is gainGradient's. `sum`: [rows, width], the gradient that came by the residual, to which dx is added.
 */
export function layerNormBackward(shape: RowShape, adds: boolean): Kernel {
  const { rows, width, threadsPerRow, element } = shape
  const lanes = lanesOf(width)
  const slopes = lanesOf(width, element)
  const wide = width / lanes.width
  const loop = (body: string) => /* wgsl */ `
  for (var j = lane; j < ${wide}u; j += ${threadsPerRow}u) {
    let at = row * ${wide}u + j;
    let du = ${slopes.load('dy[at]')} * gain[j];
    let unit = (x[at] - mean) * scale;
    ${body}
  }`
  return eachRow(shape, {
    kind: 'LayerNorm backward',
    buffers: {
      dy: `read ${slopes.type}`,
      x: `read ${lanes.type}`,
      gain: `read ${lanes.type}`,
      stats: 'read vec2<f32>',
      dx: `${adds ? 'update' : 'write'} ${lanes.type}`,
    },
    flops: 14 * rows * width,
    body: /* wgsl */ `
  let mean = stats[row].x;
  let scale = stats[row].y;
  var sum = 0.0;
  var along = 0.0;
  ${loop(`sum += ${lanes.total('du')}; along += ${lanes.total('du * unit')};`)}
  let meanOfDu = total(sum, lane) / ${width}.0;
  let meanAlong = total(along, lane) / ${width}.0;
  ${loop(`dx[at] ${adds ? '+=' : '='} scale * (du - meanOfDu - unit * meanAlong);`)}`,
  })
}
