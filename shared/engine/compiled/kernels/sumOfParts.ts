/**
 * Gradients that were made in parts, strips of rows (gains.ts) or parts of a product's depth (matmul.ts), added up: all of
 * a block's by one kernel, always in the same order.
 */
import { elementwise, type Kernel } from '../kernel.ts'

/** Where the parts of one tensor lie, and where their sum goes. */
export interface Parts {
  /** Elements of the tensor. */
  readonly width: number
  /** The first part, and the elements from one part to the next. */
  readonly from: number
  readonly stride: number
  readonly parts: number
  /** Offset in `gradients`. */
  readonly to: number
}

/** Adds the sums of all parts to `gradients`. */
export function sumOfParts(places: readonly Parts[]): Kernel {
  const count = places.reduce((sum, { width }) => sum + width, 0)
  let before = 0
  const cases = places.map(({ width, from, stride, parts, to }) => {
    const first = before
    before += width
    return /* wgsl */ `
  if (i >= ${first}u && i < ${before}u) {
    let j = i - ${first}u;
    var sum = 0.0;
    for (var part = 0u; part < ${parts}u; part++) { sum += partial[${from}u + part * ${stride}u + j]; }
    gradients[${to}u + j] += sum;
  }`
  })
  return elementwise({
    kind: 'sum of parts',
    buffers: { partial: 'read f32', gradients: 'update f32' },
    count,
    flops: places.reduce((sum, { width, parts }) => sum + width * parts, 0),
    body: cases.join(''),
  })
}
