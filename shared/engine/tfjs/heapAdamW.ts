/**
 * AdamW for wasm: the parameters in the backend's memory, the moments in JavaScript's, updated in place by a plain
 * loop. A million parameters take about eight milliseconds; in TensorFlow.js operations they would take sixteen tensors
 * a parameter. adamw.ts has the recipe. Indices are in range by construction; `as number` says only that.
 */
import * as tf from '@tensorflow/tfjs-core'
import type { ParameterEntry } from '../../model/layout.ts'
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
import type { Optimiser } from './optimiser.ts'
import { floats, forgetPacked, output } from './wasmMemory.ts'

export function heapAdamW(layout: readonly ParameterEntry[]): Optimiser {
  const count = layout.reduce((sum, entry) => sum + entry.size, 0)
  const first = new Float32Array(count)
  const second = new Float32Array(count)
  const tensors = layout.map(({ shape }) => tf.keep(output([...shape])))
  for (const tensor of tensors) floats(tensor).fill(0)
  const viewOf = (tensor: number) => floats(tensors[tensor] as tf.Tensor)
  let updates = 0
  return {
    size: count,
    tensors: () => tensors,
    updates: () => updates,
    step(gradients, learningRate, weightDecay) {
      const norm = output<tf.Rank.R0>([])
      const views = gradients.map(floats)
      const length = lengthOf(views)
      floats(norm)[0] = length
      const scale = Math.min(1, LONGEST_GRADIENT / (length + NORM_EPSILON))
      const numbers = updateNumbers(learningRate, weightDecay, ++updates)
      layout.forEach(({ offset, size }, i) => {
        const part = (all: Float32Array) => all.subarray(offset, offset + size)
        update(viewOf(i), part(first), part(second), views[i] as Float32Array, scale, numbers)
      })
      tensors.forEach(forgetPacked)
      return norm
    },
    setParameters(values, ranges) {
      for (const { tensor, from, size, at } of piecesOf(layout, ranges)) {
        viewOf(tensor).set(values.subarray(at, at + size), from)
      }
      tensors.forEach(forgetPacked)
    },
    async parameters(ranges) {
      const values = new Float32Array(ranges.reduce((sum, range) => sum + range.size, 0))
      for (const { tensor, from, size, at } of piecesOf(layout, ranges)) {
        values.set(viewOf(tensor).subarray(from, from + size), at)
      }
      return values
    },
    setState(state) {
      first.set(state.firstMoment)
      second.set(state.secondMoment)
      updates = state.updates
    },
    state: async () => ({ firstMoment: first.slice(), secondMoment: second.slice(), updates }),
    dispose: () => tf.dispose(tensors),
  }
}

function lengthOf(gradients: readonly Float32Array[]): number {
  let sum = 0
  for (const gradient of gradients) {
    for (let i = 0; i < gradient.length; i++) sum += (gradient[i] as number) * (gradient[i] as number)
  }
  return Math.sqrt(sum)
}

function update(
  p: Float32Array,
  m: Float32Array,
  v: Float32Array,
  gradient: Float32Array,
  scale: number,
  { keep, rate, unbias }: UpdateNumbers,
): void {
  for (let i = 0; i < p.length; i++) {
    const g = (gradient[i] as number) * scale
    const mi = BETA_1 * (m[i] as number) + (1 - BETA_1) * g
    const vi = BETA_2 * (v[i] as number) + (1 - BETA_2) * g * g
    m[i] = mi
    v[i] = vi
    p[i] = keep * (p[i] as number) - (rate * mi) / (Math.sqrt(vi * unbias) + EPSILON)
  }
}
