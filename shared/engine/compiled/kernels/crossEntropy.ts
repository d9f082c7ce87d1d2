/**
 * Cross entropy and z-loss of some rows of logits, and their gradient in place of the logits: loss and gradient in one
 * pass over each chunk of rows, so that never more than a chunk of logits is held. Each row is shared by threads: those
 * of a workgroup, which find its maximum and sum together and read the logits once; or, without barriers, `parts` of
 * them, each of which writes down what it has found for the second kernel to combine.
 */
import { Z_LOSS } from '../../../model/config.ts'
import { access, type Element, elementwise, type Kernel, lanesOf } from '../kernel.ts'
import { inputAt } from './embedding.ts'
import { eachRow, type Sharing } from './rows.ts'

export interface LogitsShape extends Sharing {
  /** Rows of this chunk, and the first one's index in the batch. */
  readonly rows: number
  readonly firstRow: number
  /** V */
  readonly columns: number
  /** Threads that share a row where no workgroup does, and in the second kernel. */
  readonly parts: number
  /** T */
  readonly length: number
  /** Of the logits and their gradient. */
  readonly element?: Element
}

const logitsAccess = ({ element = 'f32' }: LogitsShape) => access(element, 1)

/** Pairs of maximum and sum to each row. */
export const pairsOf = ({ threadsPerRow, parts }: LogitsShape) => (threadsPerRow === 1 ? parts : 1)

/** The loop over a thread's columns `j`; the thread has `row` and `part`. */
function columnLoop(shape: LogitsShape, body: string): string {
  const { columns, parts } = shape
  const x = logitsAccess(shape).load(`logits[row * ${columns}u + j]`)
  return `for (var j = part; j < ${columns}u; j += ${parts}u) { let x = ${x}; ${body} }`
}

const place = ({ parts }: LogitsShape) => `let row = i / ${parts}u; let part = i % ${parts}u;`

/** logits: [rows, V] → found: maximum and Σ e^(logit − maximum), of each row or part of one, [rows, pairs, 2] */
export function partialSums(shape: LogitsShape): Kernel {
  return shape.threadsPerRow === 1 ? sumsOfParts(shape) : sumsOfRows(shape)
}

function sumsOfRows(shape: LogitsShape): Kernel {
  const { rows, columns, threadsPerRow, element } = shape
  const lanes = lanesOf(columns, element)
  const wide = columns / lanes.width
  return eachRow(shape, {
    kind: 'cross entropy',
    buffers: { logits: `read ${lanes.type}`, found: 'write vec2<f32>' },
    flops: 4 * rows * columns,
    body: /* wgsl */ `
  var largest = -1e30;
  var sum = 0.0;
  for (var j = lane; j < ${wide}u; j += ${threadsPerRow}u) {
    let x = ${lanes.load(`logits[row * ${wide}u + j]`)};
    let next = max(largest, ${lanes.largest('x')});
    let powers = exp(x - next);
    sum = sum * exp(largest - next) + ${lanes.total('powers')};
    largest = next;
  }
  let most = largestOf(largest, lane);
  let all = total(sum * exp(largest - most), lane);
  if (lane == 0u) { found[row] = vec2<f32>(most, all); }`,
  })
}

function sumsOfParts(shape: LogitsShape): Kernel {
  const { rows, columns, parts } = shape
  return elementwise({
    kind: 'cross entropy',
    buffers: { logits: `read ${logitsAccess(shape).type}`, found: 'write vec2<f32>' },
    count: rows * parts,
    flops: 4 * rows * columns,
    body: /* wgsl */ `
  ${place(shape)}
  var largest = -1e30;
  ${columnLoop(shape, 'largest = max(largest, x);')}
  var sum = 0.0;
  ${columnLoop(shape, 'sum += exp(x - largest);')}
  found[i] = vec2<f32>(largest, sum);`,
  })
}

/**
 * losses: cross entropy of each row, [N]. With `slopes`, logits become the gradient of
 * slopeWeight·(cross entropy + z-loss) summed over the rows.
 */
export function crossEntropy(shape: LogitsShape, slopes: boolean): Kernel {
  const { rows, firstRow, columns, parts, length } = shape
  const { type, load, store } = logitsAccess(shape)
  const pairs = pairsOf(shape)
  const slope = /* wgsl */ `
    let p = exp(x - logSum);
    logits[row * ${columns}u + j] = ${store('numbers.slopeWeight * (p * spread - select(0.0, 1.0, j == wanted))')};`
  return elementwise({
    kind: 'cross entropy',
    buffers: {
      ids: 'read u32',
      found: 'read vec2<f32>',
      logits: `${slopes ? 'update' : 'read'} ${type}`,
      losses: 'write f32',
      ...(slopes ? { numbers: 'uniform StepNumbers' } : {}),
    },
    constants: { firstRow },
    head: slopes ? STEP_NUMBERS : '',
    count: rows * parts,
    flops: (slopes ? 6 : 0) * rows * columns + 4 * rows * parts * pairs,
    body: /* wgsl */ `
  ${place(shape)}
  var largest = -1e30;
  for (var p = row * ${pairs}u; p < (row + 1u) * ${pairs}u; p++) { largest = max(largest, found[p].x); }
  var sum = 0.0;
  for (var p = row * ${pairs}u; p < (row + 1u) * ${pairs}u; p++) { sum += found[p].y * exp(found[p].x - largest); }
  let logSum = largest + log(sum);
  let n = row + sizes.firstRow;
  let wanted = ids[${inputAt('n', length)} + 1u];
  if (wanted % ${parts}u == part) { losses[n] = logSum - ${load(`logits[row * ${columns}u + wanted]`)}; }
  ${slopes ? `let spread = 1.0 + ${2 * Z_LOSS} * logSum;\n  ${columnLoop(shape, slope)}` : ''}`,
  })
}

/** What changes from step to step; the host writes it. */
export const STEP_NUMBERS = /* wgsl */ `
struct StepNumbers {
  keep: f32,
  rate: f32,
  unbias: f32,
  rowWeight: f32,
  slopeWeight: f32,
  unscale: f32,
}`

/** Elements of the buffer it lies in. */
export const STEP_NUMBERS_SIZE = 8

export interface StepNumbers {
  /** AdamW's, ../../adamw.ts. */
  readonly keep: number
  readonly rate: number
  readonly unbias: number
  /** Rows of a batch. */
  readonly rows: number
}

/**
 * What gradients of states are multiplied by, a power of two, so that nothing is rounded by it: those of the logits are
 * then at most about 64 whatever the batch. Unscaled they are some 1/rows, and f16 ends at 6e-8. From 64 there is a
 * thousand to f16's largest number for what grows on the way down, and a million to where it becomes coarse.
 */
const scaleOf = (rows: number) => 64 * 2 ** Math.round(Math.log2(rows))

/** As STEP_NUMBERS has them. `element`: of the states. */
export function stepNumbers(
  { keep, rate, unbias, rows }: StepNumbers,
  element: Element,
): Float32Array<ArrayBuffer> {
  const scale = element === 'f32' ? 1 : scaleOf(rows)
  return Float32Array.of(keep, rate, unbias, 1 / rows, scale / rows, 1 / scale, 0, 0)
}
