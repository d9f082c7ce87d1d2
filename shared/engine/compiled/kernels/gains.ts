/**
 * Gradients of the gains: sums over all rows, column by column. Each thread sums one column of one strip of rows into
 * `partial`; sumOfParts.ts adds the strips up.
 */
import { access, type Element, elementwise, type Kernel } from '../kernel.ts'
import type { HeadShape } from './headNorm.ts'

export interface Strips {
  readonly rows: number
  readonly strips: number
}

/** The loop over the rows `n` of a strip. */
const stripLoop = ({ rows, strips }: Strips, strip: string, body: string) => {
  const size = Math.ceil(rows / strips)
  return `for (var n = ${strip} * ${size}u; n < min(${rows}u, (${strip} + 1u) * ${size}u); n++) { ${body} }`
}

/** Σ dy·unit over each strip; `element`: of dy. dy, x: [rows, width], stats: [rows, 2] → partial: [strips, width] */
export function gainGradient(of: Strips, width: number, element: Element = 'f32'): Kernel {
  const { type, load } = access(element, 1)
  return elementwise({
    kind: 'gain gradient',
    buffers: { dy: `read ${type}`, x: 'read f32', stats: 'read vec2<f32>', partial: 'write f32' },
    count: of.strips * width,
    flops: 4 * of.rows * width,
    body: /* wgsl */ `
  let j = i % ${width}u;
  let strip = i / ${width}u;
  var sum = 0.0;
  ${stripLoop(of, 'strip', `sum += ${load(`dy[n * ${width}u + j]`)} * (x[n * ${width}u + j] - stats[n].x) * stats[n].y;`)}
  partial[i] = sum;`,
  })
}

/** The same of queries and keys, whose gradients must be turned back first. → partial: [2, strips, d] */
export function headGainGradient({ strips }: Pick<Strips, 'strips'>, shape: HeadShape): Kernel {
  const { rows, heads, headDim, length, planeStride } = shape
  const [width, half] = [heads * headDim, headDim / 2]
  const { type, load } = access(shape.element ?? 'f32', 1)
  return elementwise({
    kind: 'gain gradient',
    buffers: {
      dTurned: `read ${type}`,
      raw: `read ${type}`,
      cosines: 'read f32',
      sines: 'read f32',
      stats: 'read vec2<f32>',
      partial: 'write f32',
    },
    count: 2 * strips * width,
    flops: 2 * 7 * rows * width,
    body: /* wgsl */ `
  let j = i % ${width}u;
  let strip = i / ${width}u % ${strips}u;
  let plane = i / ${width * strips}u;
  let within = j % ${headDim}u;
  let first = within < ${half}u;
  let other = select(j - ${half}u, j + ${half}u, first);
  let turn = select(within - ${half}u, within, first);
  let sign = select(-1.0, 1.0, first);
  var sum = 0.0;
  ${stripLoop(
    { rows, strips },
    'strip',
    `
    let row = plane * ${planeStride}u + n * ${width}u;
    let c = cosines[n % ${length}u * ${half}u + turn];
    let s = sines[n % ${length}u * ${half}u + turn];
    let dy = ${load('dTurned[row + j]')} * c + sign * ${load('dTurned[row + other]')} * s;
    let stat = stats[(plane * ${rows}u + n) * ${heads}u + j / ${headDim}u];
    sum += dy * (${load('raw[row + j]')} - stat.x) * stat.y;`,
  )}
  partial[i] = sum;`,
  })
}
