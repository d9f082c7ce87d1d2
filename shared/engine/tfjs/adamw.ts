/**
 * AdamW as in PyTorch: decoupled weight decay multiplied by the learning rate, on every tensor (gains and
 * embedding too), bias correction by the number of updates, and before it the clipping of the gradient's global
 * norm to 1. The types, the numbers, and the host implementation; deviceAdamW.ts is its sibling for GPUs.
 */
import * as tf from '@tensorflow/tfjs-core'
import type { ParameterEntry } from '../../model/layout.ts'
import type { OptimiserState } from '../engine.ts'

export const BETA_1 = 0.9
export const BETA_2 = 0.99
export const EPSILON = 1e-8
export const LONGEST_GRADIENT = 1
/** Keeps the clipping factor finite, as torch.nn.utils.clip_grad_norm_ does. */
export const NORM_EPSILON = 1e-6

/** Parameters and moments of one replica, wherever they lie. */
export interface Optimiser {
  /** Number of parameters. */
  readonly size: number
  /** The parameters in layout order. They belong to the optimiser and live until its next `step`. */
  tensors(): readonly tf.Tensor[]
  /** Number of updates behind the moments. */
  updates(): number
  /** One update; disposes nothing it was given. */
  step(gradients: readonly tf.Tensor[], learningRate: number, weightDecay: number): void
  setParameters(values: Float32Array): void
  parameters(): Promise<Float32Array<ArrayBuffer>>
  setState(state: OptimiserState): void
  state(): Promise<OptimiserState>
  dispose(): void
}

/**
 * Parameters and moments in JavaScript's memory, updated by a plain loop. For wasm, where reading a gradient is
 * a copy within main memory: 170 thousand parameters take about a millisecond, and the same in TensorFlow.js
 * operations makes sixteen tensors a parameter. Every step makes new parameter tensors, because XNNPACK keeps
 * the packed right-hand matrix of a product by tensor id.
 */
export function hostAdamW(layout: readonly ParameterEntry[]): Optimiser {
  const count = layout.reduce((sum, entry) => sum + entry.size, 0)
  const values = new Float32Array(count)
  const first = new Float32Array(count)
  const second = new Float32Array(count)
  let updates = 0
  let tensors: tf.Tensor[] = []
  const upload = () => {
    tf.dispose(tensors)
    tensors = layout.map(({ shape, offset, size }) =>
      tf.keep(tf.tensor(values.slice(offset, offset + size), [...shape], 'float32')),
    )
  }
  upload()
  return {
    size: count,
    tensors: () => tensors,
    updates: () => updates,
    step(gradients, learningRate, weightDecay) {
      const read = gradients.map((gradient) => gradient.dataSync<'float32'>()) // wasm: a copy, no wait
      updates++
      const scale = clippingFactor(read)
      layout.forEach(({ offset, size }, i) => {
        const part = (all: Float32Array) => all.subarray(offset, offset + size)
        const gradient = read[i]
        if (!gradient) throw new Error('internal: a parameter without its gradient')
        update(part(values), part(first), part(second), gradient, {
          scale,
          learningRate,
          weightDecay,
          updates,
        })
      })
      upload()
    },
    setParameters(from) {
      values.set(from)
      upload()
    },
    parameters: async () => values.slice(),
    setState(state) {
      first.set(state.firstMoment)
      second.set(state.secondMoment)
      updates = state.updates
    },
    state: async () => ({ firstMoment: first.slice(), secondMoment: second.slice(), updates }),
    dispose: () => tf.dispose(tensors),
  }
}

interface UpdateNumbers {
  readonly scale: number
  readonly learningRate: number
  readonly weightDecay: number
  readonly updates: number
}

function clippingFactor(gradients: readonly Float32Array[]): number {
  let sum = 0
  for (const gradient of gradients) for (const g of gradient) sum += g * g
  return Math.min(1, LONGEST_GRADIENT / (Math.sqrt(sum) + NORM_EPSILON))
}

function update(
  p: Float32Array,
  m: Float32Array,
  v: Float32Array,
  gradient: Float32Array,
  n: UpdateNumbers,
): void {
  const keep = 1 - n.learningRate * n.weightDecay
  const rate = n.learningRate / (1 - BETA_1 ** n.updates)
  const unbias = 1 / (1 - BETA_2 ** n.updates)
  for (let i = 0; i < p.length; i++) {
    const g = (gradient[i] as number) * n.scale // i is in range: all four have one length
    const mi = BETA_1 * (m[i] as number) + (1 - BETA_1) * g
    const vi = BETA_2 * (v[i] as number) + (1 - BETA_2) * g * g
    m[i] = mi
    v[i] = vi
    p[i] = keep * (p[i] as number) - (rate * mi) / (Math.sqrt(vi * unbias) + EPSILON)
  }
}
