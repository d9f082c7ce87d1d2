/**
 * The decoder-only transformer: forward and backward through all blocks, and the two uses of it: loss with
 * gradients, and hidden states alone. Shapes as in block.ts, plus V = vocabSize.
 */
import * as tf from '@tensorflow/tfjs-core'
import type { ModelConfig } from '../../model/config.ts'
import { causalMask } from './attention.ts'
import { type BlockState, blockBackward, blockForward, type Constants } from './block.ts'
import type { Kernels, Normed } from './kernels.ts'
import { type LossAndGradients, lossAndGradients } from './loss.ts'
import { type Block, flat, named, type Parameters } from './parameters.ts'
import { rotationTables } from './shapes.ts'

/** One batch on the device. */
export interface Batch {
  /** Token ids, [N]. */
  readonly inputs: tf.Tensor1D
  /** The id that follows each, [N]. */
  readonly targets: tf.Tensor1D
}

export function makeConstants(config: ModelConfig, kernels: Kernels): Constants {
  return {
    config,
    kernels,
    mask: causalMask(config.sequenceLength),
    queryRotation: rotationTables(config, 1 / Math.sqrt(config.headDim)),
    keyRotation: rotationTables(config, 1),
  }
}

export function disposeConstants({ mask, queryRotation, keyRotation }: Constants): void {
  tf.dispose([mask, queryRotation, keyRotation])
}

/** Mean cross entropy, a scalar, and the gradient of it plus z-loss for every parameter, in layout order. */
export function trainingPass(tensors: readonly tf.Tensor[], batch: Batch, c: Constants) {
  const parameters = named(tensors, c.config)
  const states: BlockState[] = []
  let x = c.kernels.rowsOf(parameters.embedding, batch.inputs) // [N, d]
  for (const block of parameters.blocks) {
    const state = blockForward(x, block, c)
    states.push(state)
    x = state.feedForward.y
  }
  const last = c.kernels.layerNorm(x, parameters.finalNorm) // [N, d]
  const top = lossAndGradients(c.kernels, last.y, parameters.embedding, batch.targets)
  return { loss: top.loss, gradients: flat(backward(parameters, states, last, top, batch, c)) }
}

function backward(
  parameters: Parameters,
  states: BlockState[],
  last: Normed,
  top: LossAndGradients,
  batch: Batch,
  c: Constants,
): Parameters {
  const final = c.kernels.layerNormBackward(top.dx, last, parameters.finalNorm)
  let dx = final.dx // [N, d]
  const blocks: Block[] = []
  for (let layer = states.length - 1; layer >= 0; layer--) {
    const [block, state] = [parameters.blocks[layer], states[layer]]
    if (!block || !state) throw new Error('internal: a block without its state')
    const below = blockBackward(dx, block, state, c)
    tf.dispose([dx, state])
    dx = below.dx
    blocks.unshift(below.gradients)
  }
  const looked = c.kernels.sumByIds(dx, batch.inputs, c.config.vocabSize) // [V, d]
  return { embedding: tf.add(top.dEmbedding, looked), blocks, finalNorm: final.dGain }
}

/** The hidden states that the output layer reads, [N, d]. */
export function hiddenStates(tensors: readonly tf.Tensor[], inputs: tf.Tensor1D, c: Constants): tf.Tensor2D {
  return tf.tidy(() => {
    const { embedding, blocks, finalNorm } = named(tensors, c.config)
    let x = c.kernels.rowsOf(embedding, inputs) // [N, d]
    for (const block of blocks) x = tf.tidy(() => blockForward(x, block, c).feedForward.y)
    return c.kernels.layerNorm(x, finalNorm).y
  })
}
