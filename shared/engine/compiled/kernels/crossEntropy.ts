/**
 * Cross entropy and z-loss of some rows of logits, and their gradient in place of the logits: loss and gradient in one
 * pass over each chunk of rows, so that never more than a chunk of logits is held. Each row is shared by `parts`
 * threads, which take every parts-th column; what each found of maximum and sum is written down between two kernels
 * instead of a barrier.
 */
import { Z_LOSS } from '../../../model/config.ts'
import { elementwise, type Kernel } from '../kernel.ts'
import { inputAt } from './embedding.ts'

export interface LogitsShape {
  /** Rows of this chunk, and the first one's index in the batch. */
  readonly rows: number
  readonly firstRow: number
  /** V */
  readonly columns: number
  /** Threads that share a row. */
  readonly parts: number
  /** T */
  readonly length: number
}

/** The loop over a thread's columns `j`; the thread has `row` and `part`. */
const columnLoop = ({ columns, parts }: LogitsShape, body: string) =>
  `for (var j = part; j < ${columns}u; j += ${parts}u) { let x = logits[row * ${columns}u + j]; ${body} }`

const place = ({ parts }: LogitsShape) => `let row = i / ${parts}u; let part = i % ${parts}u;`

/** logits: [rows, V] → found: maximum and Σ e^(logit − maximum) of each part, [rows, parts, 2] */
export function partialSums(shape: LogitsShape): Kernel {
  const { rows, columns, parts } = shape
  return elementwise({
    kind: 'cross entropy',
    buffers: { logits: 'read f32', found: 'write vec2<f32>' },
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
 * weight·(cross entropy + z-loss) summed over the rows.
 */
export function crossEntropy(shape: LogitsShape, slopes: boolean): Kernel {
  const { rows, firstRow, columns, parts, length } = shape
  const slope = /* wgsl */ `
    let p = exp(x - logSum);
    logits[row * ${columns}u + j] = numbers.rowWeight * (p * spread - select(0.0, 1.0, j == wanted));`
  return elementwise({
    kind: 'cross entropy',
    buffers: {
      ids: 'read u32',
      found: 'read vec2<f32>',
      logits: slopes ? 'update f32' : 'read f32',
      losses: 'write f32',
      ...(slopes ? { numbers: 'uniform StepNumbers' } : {}),
    },
    constants: { firstRow },
    head: slopes ? STEP_NUMBERS : '',
    count: rows * parts,
    flops: (slopes ? 6 : 0) * rows * columns + 4 * rows * parts * parts,
    body: /* wgsl */ `
  ${place(shape)}
  var largest = -1e30;
  for (var p = row * ${parts}u; p < (row + 1u) * ${parts}u; p++) { largest = max(largest, found[p].x); }
  var sum = 0.0;
  for (var p = row * ${parts}u; p < (row + 1u) * ${parts}u; p++) { sum += found[p].y * exp(found[p].x - largest); }
  let logSum = largest + log(sum);
  let n = row + sizes.firstRow;
  let wanted = ids[${inputAt('n', length)} + 1u];
  if (wanted % ${parts}u == part) { losses[n] = logSum - logits[row * ${columns}u + wanted]; }
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
}`
