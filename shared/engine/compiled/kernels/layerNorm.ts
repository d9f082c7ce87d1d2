/**
 * LayerNorm of rows with a gain and no bias, forward and backward. A row is worked on by one thread, or by a whole
 * workgroup that adds up in shared memory: GPUs want many threads with neighbouring addresses, a GPU that is a program
 * on the CPU wants no barriers.
 */
import { LAYER_NORM_EPSILON } from '../../../model/config.ts'
import { type Kernel, type KernelText, kernel, lanesOf, spread, THREADS } from '../kernel.ts'

export interface RowShape {
  readonly rows: number
  readonly width: number
  /** 1, or a power of two: that many threads share a row. */
  readonly threadsPerRow: number
}

/** A kernel over rows: its body knows `row`, and `lane` among the threads of the row; `total(x)` adds over them. */
function eachRow({ rows, threadsPerRow }: RowShape, text: Omit<KernelText, 'threads' | 'groups'>): Kernel {
  const alone = threadsPerRow === 1
  const groups = spread(alone ? Math.ceil(rows / THREADS) : rows)
  const index = `group.y * ${groups[0]}u + group.x`
  const place = alone
    ? `let row = (${index}) * ${THREADS}u + local.x; let lane = 0u;`
    : `let row = ${index}; let lane = local.x;`
  return kernel({
    ...text,
    threads: [alone ? THREADS : threadsPerRow, 1],
    groups,
    head: `${alone ? TOTAL_ALONE : totalShared(threadsPerRow)}\n${text.head ?? ''}`,
    body: `  ${place}\n  if (row >= ${rows}u) { return; }\n${text.body}`,
  })
}

const TOTAL_ALONE = 'fn total(value: f32, lane: u32) -> f32 { return value; }'

/** Always in the same order: the same bits each time. */
const totalShared = (threads: number) => /* wgsl */ `
var<workgroup> parts: array<f32, ${threads}>;
fn total(value: f32, lane: u32) -> f32 {
  workgroupBarrier();
  parts[lane] = value;
  workgroupBarrier();
  for (var half = ${threads / 2}u; half > 0u; half /= 2u) {
    if (lane < half) { parts[lane] += parts[lane + half]; }
    workgroupBarrier();
  }
  return parts[0];
}`

/** x: [rows, width], gain: [width] → y: [rows, width], stats: mean and 1/deviation of each row, [rows, 2] */
export function layerNorm(shape: RowShape): Kernel {
  const { rows, width, threadsPerRow } = shape
  const lanes = lanesOf(width)
  const wide = width / lanes.width
  const loop = (body: string) =>
    `for (var j = lane; j < ${wide}u; j += ${threadsPerRow}u) { let v = x[row * ${wide}u + j]; ${body} }`
  return eachRow(shape, {
    kind: 'LayerNorm',
    buffers: {
      x: `read ${lanes.type}`,
      gain: `read ${lanes.type}`,
      y: `write ${lanes.type}`,
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
  ${loop(`y[row * ${wide}u + j] = (v - mean) * scale * gain[j];`)}
  if (lane == 0u) { stats[row] = vec2<f32>(mean, scale); }`,
  })
}

/**
 * dx = scale·(du − mean(du) − unit·mean(du·unit)) with du = dy·gain and unit = (x − mean)·scale; the gain's own
 * gradient is gainGradient's. `sum`: [rows, width], the gradient that came by the residual, to which dx is added.
 */
export function layerNormBackward(shape: RowShape, adds: boolean): Kernel {
  const { rows, width, threadsPerRow } = shape
  const lanes = lanesOf(width)
  const wide = width / lanes.width
  const loop = (body: string) => /* wgsl */ `
  for (var j = lane; j < ${wide}u; j += ${threadsPerRow}u) {
    let at = row * ${wide}u + j;
    let du = dy[at] * gain[j];
    let unit = (x[at] - mean) * scale;
    ${body}
  }`
  return eachRow(shape, {
    kind: 'LayerNorm backward',
    buffers: {
      dy: `read ${lanes.type}`,
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
