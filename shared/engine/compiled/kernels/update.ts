/**
 * The end of a step: the loss, the gradient's global norm, clipping, and AdamW, in place. Sums are made in parts, each a
 * thread's own, so that the same gradient gives the same bits. ../../adamw.ts has the recipe.
 */
import { BETA_1, BETA_2, EPSILON, LONGEST_GRADIENT, NORM_EPSILON } from '../../adamw.ts'
import { elementwise, type Kernel, kernel } from '../kernel.ts'
import { STEP_NUMBERS } from './crossEntropy.ts'

/** Parts that a long sum is made in before its last kernel. */
export const SUM_PARTS = 256

/** Adds the rows' losses to `parts`: [SUM_PARTS], over the micro-batches of a step. */
export function sumLosses(rows: number): Kernel {
  return elementwise({
    kind: 'loss and norm',
    buffers: { losses: 'read f32', parts: 'update f32' },
    count: SUM_PARTS,
    flops: rows,
    body: /* wgsl */ `
  var sum = 0.0;
  for (var n = i; n < ${rows}u; n += ${SUM_PARTS}u) { sum += losses[n]; }
  parts[i] += sum;`,
  })
}

/** gradients: [size], a multiple of 4 → squares: [parts] */
export function sumSquares(size: number, parts: number): Kernel {
  return elementwise({
    kind: 'loss and norm',
    buffers: { gradients: 'read vec4<f32>', squares: 'write f32' },
    count: parts,
    flops: 2 * size,
    body: /* wgsl */ `
  var sum = 0.0;
  for (var j = i; j < ${size / 4}u; j += ${parts}u) { sum += dot(gradients[j], gradients[j]); }
  squares[i] = sum;`,
  })
}

/** squares: [parts] → sums: [SUM_PARTS] */
export function sumParts(parts: number): Kernel {
  return elementwise({
    kind: 'loss and norm',
    buffers: { squares: 'read f32', sums: 'write f32' },
    count: SUM_PARTS,
    flops: parts,
    body: /* wgsl */ `
  var sum = 0.0;
  for (var j = i; j < ${parts}u; j += ${SUM_PARTS}u) { sum += squares[j]; }
  sums[i] = sum;`,
  })
}

/**
 * meter: the losses and the norms of all steps since it was cleared, the last loss and the last norm, [4]. scale: the factor that
 * clips the gradient and undoes its scale, [1].
 */
export function endOfSums(): Kernel {
  return kernel({
    kind: 'loss and norm',
    buffers: {
      losses: 'read f32',
      sums: 'read f32',
      meter: 'update f32',
      scale: 'write f32',
      numbers: 'uniform StepNumbers',
    },
    head: STEP_NUMBERS,
    threads: [1, 1],
    groups: [1, 1, 1],
    flops: 2 * SUM_PARTS,
    body: /* wgsl */ `
  var loss = 0.0;
  var squares = 0.0;
  for (var j = 0u; j < ${SUM_PARTS}u; j++) { loss += losses[j]; squares += sums[j]; }
  loss *= numbers.rowWeight;
  let norm = numbers.unscale * sqrt(squares);
  meter[0] += loss;
  meter[1] += norm;
  meter[2] = loss;
  meter[3] = norm;
  scale[0] = numbers.unscale * min(1.0, ${LONGEST_GRADIENT}.0 / (norm + ${NORM_EPSILON}));`,
  })
}

/** All of them: [size], a multiple of 4. */
export function adamW(size: number): Kernel {
  return elementwise({
    kind: 'AdamW',
    buffers: {
      parameters: 'update vec4<f32>',
      first: 'update vec4<f32>',
      second: 'update vec4<f32>',
      gradients: 'read vec4<f32>',
      scale: 'read f32',
      numbers: 'uniform StepNumbers',
    },
    head: STEP_NUMBERS,
    count: size / 4,
    flops: 14 * size,
    body: /* wgsl */ `
  let g = gradients[i] * scale[0];
  let m = ${BETA_1} * first[i] + ${1 - BETA_1} * g;
  let v = ${BETA_2} * second[i] + ${1 - BETA_2} * g * g;
  first[i] = m;
  second[i] = v;
  parameters[i] = numbers.keep * parameters[i] - numbers.rate * m / (sqrt(v * numbers.unbias) + ${EPSILON});`,
  })
}
