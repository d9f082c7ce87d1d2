/**
 * AdamW for WebGPU in WGSL of our own, in place on the buffers of the backend's tensors and in its command encoder:
 * the gradients' squares summed in parts, one norm, one update a tensor, and no tensor made, where operations would
 * make sixteen for every parameter. Deterministic: every sum has a fixed order. adamw.ts has the recipe.
 */
import * as tf from '@tensorflow/tfjs-core'
import type { ParameterEntry, ParameterRange } from '../../model/layout.ts'
import {
  BETA_1,
  BETA_2,
  EPSILON,
  LONGEST_GRADIENT,
  NORM_EPSILON,
  piecesOf,
  type UpdateNumbers,
  updateNumbers,
} from '../adamw.ts'
import { dispatch, gpu, newBuffer, pipeline, readBuffers } from './gpuMemory.ts'
import type { Optimiser } from './optimiser.ts'

const THREADS = 64
/** Workgroups that update one tensor at most; each thread then takes several elements. */
const MOST_GROUPS = 16_384
/** Parts of one tensor's sum of squares; each is a thread's, over every so-many-th element. */
const MOST_PARTS = 16_384
/** What all parts are summed to before the last thread adds up. */
const SUMS = 256

// No kernel has a barrier: a GPU that is a program on the CPU takes a millisecond for one.

/** The squares of one gradient in `place.y` parts, the first of them at `place.x`. */
const SUM_SQUARES = /* wgsl */ `
@group(0) @binding(0) var<storage, read> gradient: array<f32>;
@group(0) @binding(1) var<storage, read_write> parts: array<f32>;
@group(0) @binding(2) var<uniform> place: vec4<u32>;
@compute @workgroup_size(${THREADS})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= place.y) { return; }
  var sum = 0.0;
  for (var i = id.x; i < arrayLength(&gradient); i += place.y) { sum += gradient[i] * gradient[i]; }
  parts[place.x + id.x] = sum;
}`

const SUM_PARTS = /* wgsl */ `
@group(0) @binding(0) var<storage, read> parts: array<f32>;
@group(0) @binding(1) var<storage, read_write> sums: array<f32, ${SUMS}>;
@compute @workgroup_size(${THREADS})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  var sum = 0.0;
  for (var i = id.x; i < arrayLength(&parts); i += ${SUMS}u) { sum += parts[i]; }
  sums[id.x] = sum;
}`

/** The norm and the clipping factor. */
const NORM = /* wgsl */ `
@group(0) @binding(0) var<storage, read> sums: array<f32, ${SUMS}>;
@group(0) @binding(1) var<storage, read_write> norm: array<f32>;
@group(0) @binding(2) var<storage, read_write> scale: array<f32>;
@compute @workgroup_size(1)
fn main() {
  var sum = 0.0;
  for (var i = 0u; i < ${SUMS}u; i++) { sum += sums[i]; }
  norm[0] = sqrt(sum);
  scale[0] = min(1.0, ${LONGEST_GRADIENT} / (norm[0] + ${NORM_EPSILON}));
}`

const UPDATE = /* wgsl */ `
struct Step { keep: f32, rate: f32, unbias: f32 }
@group(0) @binding(0) var<storage, read_write> parameter: array<f32>;
@group(0) @binding(1) var<storage, read_write> first: array<f32>;
@group(0) @binding(2) var<storage, read_write> second: array<f32>;
@group(0) @binding(3) var<storage, read> gradient: array<f32>;
@group(0) @binding(4) var<storage, read> scale: array<f32>;
@group(0) @binding(5) var<uniform> step: Step;
@compute @workgroup_size(${THREADS})
fn main(
  @builtin(global_invocation_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
) {
  for (var i = id.x; i < arrayLength(&parameter); i += groups.x * ${THREADS}u) {
    let g = gradient[i] * scale[0];
    let m = ${BETA_1} * first[i] + ${1 - BETA_1} * g;
    let v = ${BETA_2} * second[i] + ${1 - BETA_2} * g * g;
    first[i] = m;
    second[i] = v;
    parameter[i] = step.keep * parameter[i] - step.rate * m / (sqrt(v * step.unbias) + ${EPSILON});
  }
}`

/** One tensor's place on the device. */
interface Slot {
  readonly tensor: tf.Tensor
  readonly first: GPUBuffer
  readonly second: GPUBuffer
  /** Threads that sum its squares, and where their parts are: the first one's index and their number. */
  readonly parts: number
  readonly place: GPUBuffer
}

export function gpuAdamW(layout: readonly ParameterEntry[]): Optimiser {
  const { device } = gpu()
  const pipelines = {
    squares: pipeline(SUM_SQUARES),
    parts: pipeline(SUM_PARTS),
    norm: pipeline(NORM),
    update: pipeline(UPDATE),
  }
  const partsOf = (size: number) => Math.min(MOST_PARTS, Math.ceil(size / THREADS))
  const parts = newBuffer(layout.reduce((sum, { size }) => sum + partsOf(size), 0))
  const [sums, scale, numbers] = [newBuffer(SUMS), newBuffer(1), newBuffer(4, GPUBufferUsage.UNIFORM)]
  let begun = 0
  const slots = layout.map(({ shape, size }): Slot => {
    const place = newBuffer(4, GPUBufferUsage.UNIFORM)
    device.queue.writeBuffer(place, 0, new Uint32Array([begun, partsOf(size)]))
    begun += partsOf(size)
    const tensor = tf.keep(gpu().newTensor([...shape]))
    gpu().clear(tensor)
    return { tensor, first: newBuffer(size), second: newBuffer(size), parts: partsOf(size), place }
  })
  const whole = [{ offset: 0, size: layout.reduce((sum, entry) => sum + entry.size, 0) }]
  let updates = 0

  const read = (ranges: readonly ParameterRange[], bufferOf: (slot: Slot) => GPUBuffer) =>
    readBuffers(
      piecesOf(layout, ranges).map((piece) => ({ ...piece, buffer: bufferOf(slotAt(slots, piece.tensor)) })),
    )
  const write = (
    values: Float32Array,
    ranges: readonly ParameterRange[],
    bufferOf: (slot: Slot) => GPUBuffer,
  ) => {
    gpu().flush() // what was asked for earlier reads the old values
    for (const { tensor, from, size, at } of piecesOf(layout, ranges)) {
      // The array may be a view of any buffer, which the types do not let through: its bytes are copied here.
      device.queue.writeBuffer(bufferOf(slotAt(slots, tensor)), 4 * from, values.slice(at, at + size))
    }
  }
  const parameterBuffer = ({ tensor }: Slot) => gpu().bufferOf(tensor)

  return {
    size: whole[0]?.size ?? 0,
    tensors: () => slots.map(({ tensor }) => tensor),
    updates: () => updates,
    step(gradients, learningRate, weightDecay) {
      writeNumbers(numbers, updateNumbers(learningRate, weightDecay, ++updates))
      const norm = gpu().newTensor<tf.Rank.R0>([])
      gpu().record([...gradients, norm], (pass) => {
        slots.forEach((slot, i) => {
          const gradient = gpu().bufferOf(gradients[i] as tf.Tensor) // one for every parameter
          dispatch(pass, pipelines.squares, [gradient, parts, slot.place], Math.ceil(slot.parts / THREADS))
        })
        dispatch(pass, pipelines.parts, [parts, sums], SUMS / THREADS)
        dispatch(pass, pipelines.norm, [sums, gpu().bufferOf(norm), scale], 1)
        slots.forEach((slot, i) => {
          const { tensor, first, second } = slot
          const gradient = gpu().bufferOf(gradients[i] as tf.Tensor)
          const groups = Math.min(MOST_GROUPS, Math.ceil(tensor.size / THREADS))
          const buffers = [parameterBuffer(slot), first, second, gradient, scale, numbers]
          dispatch(pass, pipelines.update, buffers, groups)
        })
      })
      gpu().flush() // before the next step's numbers are written
      return norm
    },
    setParameters: (values, ranges) => write(values, ranges, parameterBuffer),
    parameters: (ranges) => read(ranges, parameterBuffer),
    setState(state) {
      write(state.firstMoment, whole, ({ first }) => first)
      write(state.secondMoment, whole, ({ second }) => second)
      updates = state.updates
    },
    async state() {
      const at = updates
      const moments = [read(whole, ({ first }) => first), read(whole, ({ second }) => second)] as const
      const [firstMoment, secondMoment] = await Promise.all(moments)
      return { firstMoment, secondMoment, updates: at }
    },
    dispose() {
      gpu().flush()
      tf.dispose(slots.map(({ tensor }) => tensor))
      for (const buffer of [
        parts,
        sums,
        scale,
        numbers,
        ...slots.flatMap((s) => [s.first, s.second, s.place]),
      ]) {
        buffer.destroy()
      }
    },
  }
}

const slotAt = (slots: readonly Slot[], index: number) => slots[index] as Slot // pieces are of the layout's tensors

function writeNumbers(buffer: GPUBuffer, { keep, rate, unbias }: UpdateNumbers): void {
  // Everything that reads the last step's numbers was submitted with that step.
  gpu().device.queue.writeBuffer(buffer, 0, new Float32Array([keep, rate, unbias]))
}
