/**
 * The decoder-only transformer: forward and backward through all blocks, and the two uses of it: loss with
 * gradients, and hidden states alone. Shapes as in block.ts, plus V = vocabSize.
 */
import * as tf from '@tensorflow/tfjs-core'
import type { ModelConfig } from '../../model/config.ts'
import { causalMask } from './attention.ts'
import { type BlockState, blockBackward, blockForward, type Constants } from './block.ts'
import { keepsStates } from './chunks.ts'
import type { Kernels, NormState } from './kernels.ts'
import { type LossAndGradients, lossAndGradients } from './loss.ts'
import { type Block, flat, named, type Parameters } from './parameters.ts'
import { rotationTables } from './rotation.ts'

/** One batch on the device. */
export interface Batch {
  /** Token ids, [N]. */
  readonly inputs: tf.Tensor1D
  /** The id that follows each, [N]. */
  readonly targets: tf.Tensor1D
}

/** `mostKept`: 0 makes every block's states again in the backward pass. */
export function makeConstants(config: ModelConfig, kernels: Kernels, mostKept?: number): Constants {
  return {
    config,
    kernels,
    mask: causalMask(config.sequenceLength),
    tables: {
      heads: config.heads,
      query: rotationTables(config, 1 / Math.sqrt(config.headDim)),
      key: rotationTables(config, 1),
    },
    mostKept,
  }
}

export function disposeConstants({ mask, tables }: Constants): void {
  tf.dispose([mask, tables.query, tables.key])
}

/** A block on the way down: its input, and its state unless that is to be made again. */
interface Passed {
  readonly block: Block
  readonly x: tf.Tensor2D
  readonly state: BlockState | null
}

/**
 * Cross entropy, a scalar, and the gradient of it plus z-loss for every parameter, in layout order; both as means over
 * `total` tokens, the batch's own or, when it is a part of a larger one, that one's.
 */
export function trainingPass(
  tensors: readonly tf.Tensor[],
  batch: Batch,
  c: Constants,
  total: number = batch.inputs.size,
) {
  const parameters = named(tensors, c.config)
  const passed: Passed[] = []
  const keeps = keepsStates(c.config, batch.inputs.size / c.config.sequenceLength, c.mostKept)
  let x = c.kernels.rowsOf(parameters.embedding, batch.inputs) // [N, d]
  for (const block of parameters.blocks) {
    const { y, state } = blockForward(x, block, c)
    passed.push({ block, x, state: keeps ? state : null })
    if (!keeps) tf.dispose(state)
    x = y
  }
  const last = c.kernels.layerNorm(x, parameters.finalNorm) // [N, d]
  const top = lossAndGradients(c.kernels, last.y, parameters.embedding, batch.targets, total)
  return { loss: top.loss, gradients: flat(backward(parameters, passed, last, top, batch, c)) }
}

function backward(
  parameters: Parameters,
  passed: readonly Passed[],
  last: NormState,
  top: LossAndGradients,
  batch: Batch,
  c: Constants,
): Parameters {
  const final = c.kernels.layerNormBackward(top.dx, last, parameters.finalNorm)
  let dx = final.dx // [N, d]
  const blocks: Block[] = []
  for (const { block, x, state: kept } of passed.toReversed()) {
    const state = kept ?? blockForward(x, block, c).state
    const below = blockBackward(dx, block, state, c)
    tf.dispose([dx, x, state])
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
    for (const block of blocks) x = tf.tidy(() => blockForward(x, block, c).y)
    return c.kernels.layerNorm(x, finalNorm).y
  })
}
