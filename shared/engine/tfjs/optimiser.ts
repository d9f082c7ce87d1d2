/**
 * What the engine asks of an implementation of AdamW: heapAdamW.ts (wasm), gpuAdamW.ts (webgpu) and deviceAdamW.ts (any
 * backend, used for webgl). ../adamw.ts has the recipe's numbers.
 */
import type * as tf from '@tensorflow/tfjs-core'
import type { ParameterRange } from '../../model/layout.ts'
import type { OptimiserState } from '../engine.ts'

/** Parameters and moments of one replica, wherever they lie. */
export interface Optimiser {
  /** Number of parameters. */
  readonly size: number
  /** The parameters in layout order. They belong to the optimiser and live until its next `step`. */
  tensors(): readonly tf.Tensor[]
  /** Number of updates behind the moments. */
  updates(): number
  /** One update; disposes nothing it was given. The gradient's norm before clipping, on the device. */
  step(gradients: readonly tf.Tensor[], learningRate: number, weightDecay: number): tf.Scalar
  /** `values` holds the ranges' elements one after another. */
  setParameters(values: Float32Array, ranges: readonly ParameterRange[]): void
  parameters(ranges: readonly ParameterRange[]): Promise<Float32Array<ArrayBuffer>>
  setState(state: OptimiserState): void
  state(): Promise<OptimiserState>
  dispose(): void
}
