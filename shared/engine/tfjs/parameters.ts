/** The flat list of parameter tensors, in the order of model/layout.ts, under the names the arithmetic uses. */
import type * as tf from '@tensorflow/tfjs-core'
import type { ModelConfig } from '../../model/config.ts'

/** One transformer block; matrices are [inputs, outputs]. */
export type Block = {
  inputNorm: tf.Tensor1D
  query: tf.Tensor2D
  key: tf.Tensor2D
  value: tf.Tensor2D
  queryNorm: tf.Tensor1D
  keyNorm: tf.Tensor1D
  attentionOut: tf.Tensor2D
  postNorm: tf.Tensor1D
  gate: tf.Tensor2D
  up: tf.Tensor2D
  down: tf.Tensor2D
}

export type Parameters = {
  embedding: tf.Tensor2D
  blocks: Block[]
  finalNorm: tf.Tensor1D
}

/** The order of a block's tensors in the layout. */
const BLOCK_ORDER = [
  'inputNorm',
  'query',
  'key',
  'value',
  'queryNorm',
  'keyNorm',
  'attentionOut',
  'postNorm',
  'gate',
  'up',
  'down',
] as const satisfies readonly (keyof Block)[]

/** `tensors` has one tensor for each entry of parameterLayout(config), in its order and shape. */
export function named(tensors: readonly tf.Tensor[], config: ModelConfig): Parameters {
  let next = 0
  // The layout fixes each tensor's rank; the list cannot carry it in its type.
  const take = () => tensors[next++] as tf.Tensor1D & tf.Tensor2D
  const embedding = take()
  const blocks = Array.from({ length: config.layers }, () => {
    // Every key of BLOCK_ORDER is set, and they are all of Block's.
    return Object.fromEntries(BLOCK_ORDER.map((name) => [name, take()])) as unknown as Block
  })
  return { embedding, blocks, finalNorm: take() }
}

/** The inverse of `named`, for gradients. */
export function flat({ embedding, blocks, finalNorm }: Parameters): tf.Tensor[] {
  return [embedding, ...blocks.flatMap((block) => BLOCK_ORDER.map((name) => block[name])), finalNorm]
}
