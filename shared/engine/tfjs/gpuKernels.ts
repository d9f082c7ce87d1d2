/**
 * The kernels for the webgpu backend: LayerNorm and SwiGLU, forward and backward, in WGSL of our own, one launch where
 * operations make eight to twelve. A thread has a row of a LayerNorm to itself: heads are 32 to 64 wide, and
 * the backend's reductions would take a workgroup for each. Nothing has a barrier and every sum a fixed order. The rest
 * is plainKernels.ts's.
 */
import * as tf from '@tensorflow/tfjs-core'
import { LAYER_NORM_EPSILON } from '../../model/config.ts'
import { dispatch, gpu, pipeline } from './gpuMemory.ts'
import type { Kernels, Normed, NormState } from './kernels.ts'
import { makeHeadKernels, plainKernels } from './plainKernels.ts'

const THREADS = 64
/** Rows that one thread sums of a gain's gradient; the parts are summed after. */
const ROWS_A_PART = 64

const INDEX = /* wgsl */ `
fn indexOf(id: vec3<u32>, groups: vec3<u32>) -> u32 { return id.y * groups.x * ${THREADS}u + id.x; }
`
const MAIN = /* wgsl */ `
@compute @workgroup_size(${THREADS})
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>)`

/** `n` is the width of a row. */
const LAYER_NORM = (n: number) => /* wgsl */ `
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> gain: array<f32, ${n}>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> unit: array<f32>;
@group(0) @binding(4) var<storage, read_write> scale: array<f32>;
${INDEX}${MAIN} {
  let row = indexOf(id, groups);
  if (row >= arrayLength(&scale)) { return; }
  let at = row * ${n}u;
  var sum = 0.0;
  for (var i = 0u; i < ${n}u; i++) { sum += x[at + i]; }
  let mean = sum / ${n}.0;
  var squares = 0.0;
  for (var i = 0u; i < ${n}u; i++) { let centred = x[at + i] - mean; squares += centred * centred; }
  let s = inverseSqrt(squares / ${n}.0 + ${LAYER_NORM_EPSILON});
  scale[row] = s;
  for (var i = 0u; i < ${n}u; i++) {
    let u = (x[at + i] - mean) * s;
    unit[at + i] = u;
    y[at + i] = u * gain[i];
  }
}`

const LAYER_NORM_SLOPE = (n: number) => /* wgsl */ `
@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read> unit: array<f32>;
@group(0) @binding(2) var<storage, read> scale: array<f32>;
@group(0) @binding(3) var<storage, read> gain: array<f32, ${n}>;
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;
${INDEX}${MAIN} {
  let row = indexOf(id, groups);
  if (row >= arrayLength(&scale)) { return; }
  let at = row * ${n}u;
  var sum = 0.0;
  var along = 0.0;
  for (var i = 0u; i < ${n}u; i++) {
    let d = dy[at + i] * gain[i];
    sum += d;
    along += d * unit[at + i];
  }
  for (var i = 0u; i < ${n}u; i++) {
    dx[at + i] = (dy[at + i] * gain[i] - sum / ${n}.0 - unit[at + i] * along / ${n}.0) * scale[row];
  }
}`

/** A part is a column's sum over ROWS_A_PART rows. */
const GAIN_PARTS = (n: number) => /* wgsl */ `
@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read> unit: array<f32>;
@group(0) @binding(2) var<storage, read_write> parts: array<f32>;
${INDEX}${MAIN} {
  let at = indexOf(id, groups);
  if (at >= arrayLength(&parts)) { return; }
  let first = at / ${n}u * ${ROWS_A_PART}u * ${n}u + at % ${n}u;
  let end = min(arrayLength(&dy), first + ${ROWS_A_PART * n}u);
  var sum = 0.0;
  for (var i = first; i < end; i += ${n}u) { sum += dy[i] * unit[i]; }
  parts[at] = sum;
}`

const SUM_PARTS = (n: number) => /* wgsl */ `
@group(0) @binding(0) var<storage, read> parts: array<f32>;
@group(0) @binding(1) var<storage, read_write> dGain: array<f32, ${n}>;
${INDEX}${MAIN} {
  let column = indexOf(id, groups);
  if (column >= ${n}u) { return; }
  var sum = 0.0;
  for (var i = column; i < arrayLength(&parts); i += ${n}u) { sum += parts[i]; }
  dGain[column] = sum;
}`

/** `n` is h; gate and up are side by side in rows of 2h. */
const GATED = (n: number) => /* wgsl */ `
@group(0) @binding(0) var<storage, read> both: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
${INDEX}${MAIN} {
  let at = indexOf(id, groups);
  if (at >= arrayLength(&y)) { return; }
  let left = at / ${n}u * ${2 * n}u + at % ${n}u;
  let gate = both[left];
  y[at] = gate / (1.0 + exp(-gate)) * both[left + ${n}u];
}`

/** silu' = σ + silu·(1 − σ) */
const GATED_SLOPE = (n: number) => /* wgsl */ `
@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read> both: array<f32>;
@group(0) @binding(2) var<storage, read_write> dBoth: array<f32>;
${INDEX}${MAIN} {
  let at = indexOf(id, groups);
  if (at >= arrayLength(&dy)) { return; }
  let left = at / ${n}u * ${2 * n}u + at % ${n}u;
  let gate = both[left];
  let sigmoid = 1.0 / (1.0 + exp(-gate));
  let silu = gate * sigmoid;
  dBoth[left] = dy[at] * both[left + ${n}u] * (sigmoid + silu * (1.0 - sigmoid));
  dBoth[left + ${n}u] = dy[at] * silu;
}`

export const gpuKernels: Kernels = {
  ...plainKernels,
  ...makeHeadKernels({ layerNorm, layerNormBackward }),
  // The backend's products read four numbers at a time, but not with a transposed right-hand operand.
  productWithTransposed: (a, b) => tf.tidy(() => tf.matMul(a, tf.transpose(b))),
  gatedSilu(both) {
    const [rows, columns] = both.shape
    const y = gpu().newTensor<tf.Rank.R2>([rows, columns / 2])
    launch(GATED, columns / 2, [both, y], y.size)
    return y
  },
  gatedSiluBackward(dy, both) {
    const dBoth = gpu().newTensor<tf.Rank.R2>(both.shape)
    launch(GATED_SLOPE, dy.shape[1], [dy, both, dBoth], dy.size)
    return dBoth
  },
}

function layerNorm(x: tf.Tensor2D, gain: tf.Tensor1D): Normed {
  const [rows, n] = x.shape
  const [y, unit] = [gpu().newTensor<tf.Rank.R2>([rows, n]), gpu().newTensor<tf.Rank.R2>([rows, n])]
  const scale = gpu().newTensor<tf.Rank.R2>([rows, 1])
  launch(LAYER_NORM, n, [x, gain, y, unit, scale], rows)
  return { y, unit, scale }
}

function layerNormBackward(dy: tf.Tensor2D, { unit, scale }: NormState, gain: tf.Tensor1D) {
  const [rows, n] = dy.shape
  const [dx, dGain] = [gpu().newTensor<tf.Rank.R2>([rows, n]), gpu().newTensor<tf.Rank.R1>([n])]
  const parts = gpu().newTensor<tf.Rank.R2>([Math.ceil(rows / ROWS_A_PART), n])
  launch(LAYER_NORM_SLOPE, n, [dy, unit, scale, gain, dx], rows)
  launch(GAIN_PARTS, n, [dy, unit, parts], parts.size)
  launch(SUM_PARTS, n, [parts, dGain], n)
  parts.dispose()
  return { dx, dGain }
}

type Code = (n: number) => string

/** By device, kernel and width. */
const pipelines = new WeakMap<GPUDevice, Map<Code, Map<number, GPUComputePipeline>>>()

function pipelineOf(code: Code, n: number): GPUComputePipeline {
  const { device } = gpu()
  const ofDevice = pipelines.get(device) ?? new Map<Code, Map<number, GPUComputePipeline>>()
  const ofKernel = ofDevice.get(code) ?? new Map<number, GPUComputePipeline>()
  const made = ofKernel.get(n) ?? pipeline(code(n))
  pipelines.set(device, ofDevice.set(code, ofKernel.set(n, made)))
  return made
}

function launch(code: Code, n: number, tensors: readonly tf.Tensor[], threads: number): void {
  const { record, bufferOf } = gpu()
  const kernel = pipelineOf(code, n)
  record(tensors, (pass) => dispatch(pass, kernel, tensors.map(bufferOf), Math.ceil(threads / THREADS)))
}
