/** gate·σ(gate)·up, element by element, forward and backward. gate and up lie in two planes, `stride` apart, a
 * multiple of four. */
import { elementwise, type Kernel, lanesOf } from '../kernel.ts'

/** e to this is finite in f32; beyond it σ is 0 or 1 to the last bit. */
const LARGEST_POWER = 80

/** gateUp: [2, count] → mixed: [count] */
export function swiglu(count: number, stride: number): Kernel {
  const lanes = lanesOf(count)
  const wide = count / lanes.width
  return elementwise({
    kind: 'SwiGLU',
    buffers: { gateUp: `read ${lanes.type}`, mixed: `write ${lanes.type}` },
    count: wide,
    flops: 5 * count,
    body: /* wgsl */ `
  let g = gateUp[i];
  mixed[i] = g / (1.0 + exp(min(-g, ${lanes.type}(${LARGEST_POWER})))) * gateUp[${stride / lanes.width}u + i];`,
  })
}

/** (g·σ(g))' = σ(g)·(1 + g·(1 − σ(g))). dMixed: [count], gateUp: [2, count] → dGateUp: [2, count] */
export function swigluBackward(count: number, stride: number): Kernel {
  const lanes = lanesOf(count)
  const wide = count / lanes.width
  return elementwise({
    kind: 'SwiGLU backward',
    buffers: { dMixed: `read ${lanes.type}`, gateUp: `read ${lanes.type}`, dGateUp: `write ${lanes.type}` },
    count: wide,
    flops: 12 * count,
    body: /* wgsl */ `
  let d = dMixed[i];
  let g = gateUp[i];
  let s = 1.0 / (1.0 + exp(min(-g, ${lanes.type}(${LARGEST_POWER}))));
  dGateUp[i] = d * gateUp[${stride / lanes.width}u + i] * s * (1.0 + g * (1.0 - s));
  dGateUp[${stride / lanes.width}u + i] = d * g * s;`,
  })
}
