/** gate·σ(gate)·up, element by element, forward and backward. gate and up lie in two planes, `stride` apart, a
 * multiple of four. */
import { type Element, elementwise, type Kernel, lanesOf } from '../kernel.ts'

/** e to this is finite in f32; beyond it σ is 0 or 1 to the last bit. */
const LARGEST_POWER = 80

/** gateUp: [2, count] → mixed: [count] */
export function swiglu(count: number, stride: number, element?: Element): Kernel {
  const lanes = lanesOf(count, element)
  const wide = count / lanes.width
  return elementwise({
    kind: 'SwiGLU',
    buffers: { gateUp: `read ${lanes.type}`, mixed: `write ${lanes.type}` },
    count: wide,
    flops: 5 * count,
    body: /* wgsl */ `
  let g = ${lanes.load('gateUp[i]')};
  let up = ${lanes.load(`gateUp[${stride / lanes.width}u + i]`)};
  mixed[i] = ${lanes.store(`g / (1.0 + exp(min(-g, ${lanes.single}(${LARGEST_POWER})))) * up`)};`,
  })
}

/** (g·σ(g))' = σ(g)·(1 + g·(1 − σ(g))). dMixed: [count], gateUp: [2, count] → dGateUp: [2, count] */
export function swigluBackward(count: number, stride: number, element?: Element): Kernel {
  const lanes = lanesOf(count, element)
  const wide = count / lanes.width
  return elementwise({
    kind: 'SwiGLU backward',
    buffers: { dMixed: `read ${lanes.type}`, gateUp: `read ${lanes.type}`, dGateUp: `write ${lanes.type}` },
    count: wide,
    flops: 12 * count,
    body: /* wgsl */ `
  let d = ${lanes.load('dMixed[i]')};
  let g = ${lanes.load('gateUp[i]')};
  let s = 1.0 / (1.0 + exp(min(-g, ${lanes.single}(${LARGEST_POWER}))));
  let up = ${lanes.load(`gateUp[${stride / lanes.width}u + i]`)};
  dGateUp[i] = ${lanes.store('d * up * s * (1.0 + g * (1.0 - s))')};
  dGateUp[${stride / lanes.width}u + i] = ${lanes.store('d * g * s')};`,
  })
}
