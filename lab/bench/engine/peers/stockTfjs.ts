/**
 * The inner step the way TensorFlow.js is meant to be used: `tf.variableGrads` over public operations, moments and
 * parameters in variables, everything in a tidy. No gradient overrides, no custom gradients, no kernels of our own,
 * but for what stock does not have or does wrong (4.22.0):
 *
 * - wasm has no UnsortedSegmentSum, which is the gradient of `tf.gather`: registered here, where it is missing;
 * - wasm writes integer bits into a float `tf.oneHot`: made as int32 and cast;
 * - webgpu's AddN is silently wrong above seven inputs: the global norm stacks its summands and sums the stack.
 *
 * Backends start with their own defaults: in a cross-origin isolated page wasm takes the threaded build.
 */

import * as tf from '@tensorflow/tfjs'
import plainWasm from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm?url'
import simdWasm from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm?url'
import threadedWasm from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-threaded-simd.wasm?url'
import { meterTensors } from '../../../../shared/engine/tfjs/memoryMeter.ts'
import { parameterLayout } from '../../../../shared/model/layout.ts'
import {
  BETA_1,
  BETA_2,
  type ContestantOptions,
  EPSILON,
  inputsAndTargets,
  NORM_EPSILON,
  type OpenContestant,
  type UpdateFactors,
  updateFactors,
} from '../contestant.ts'
import { makeConstants, meanLosses } from './stockModel.ts'

/** A parameter with its moments. */
interface Trained {
  parameter: tf.Variable
  first: tf.Variable
  second: tf.Variable
}

export const openStockTfjs: OpenContestant = async (options) => {
  await openBackend(options.backend)
  const { config, recipe } = options
  const meter = meterTensors()
  const trained = variables(options)
  const constants = makeConstants(config)
  return {
    async step(sequences, step) {
      const crossEntropy = tf.tidy(() => {
        const { inputs, targets } = inputsAndTargets(sequences, config.sequenceLength)
        const { crossEntropy, gradients } = lossAndGradients(trained, (parameters) =>
          meanLosses(parameters, tf.tensor1d(inputs, 'int32'), tf.tensor1d(targets, 'int32'), constants),
        )
        update(trained, gradients, updateFactors(recipe, step))
        return crossEntropy
      })
      const [loss = Number.NaN] = await crossEntropy.data() // device → CPU; the update was queued before it
      crossEntropy.dispose()
      return loss
    },
    peakBytes: meter.peak,
    dispose() {
      tf.dispose([constants.mask, constants.cos, constants.sin])
      for (const { parameter, first, second } of trained) tf.dispose([parameter, first, second])
    },
  }
}

async function openBackend(backend: ContestantOptions['backend']): Promise<void> {
  tf.enableProdMode()
  if (backend === 'webgpu') await import('@tensorflow/tfjs-backend-webgpu')
  if (backend === 'webgl') await import('@tensorflow/tfjs-backend-webgl')
  if (backend === 'wasm') {
    const { setWasmPaths } = await import('@tensorflow/tfjs-backend-wasm')
    setWasmPaths({
      'tfjs-backend-wasm.wasm': plainWasm,
      'tfjs-backend-wasm-simd.wasm': simdWasm,
      'tfjs-backend-wasm-threaded-simd.wasm': threadedWasm,
    })
  }
  if (!(await tf.setBackend(backend))) throw new Error(`TensorFlow.js cannot start ${backend} here.`)
  if (backend === 'wasm') (await import('./stockSegmentSum.ts')).registerSegmentSum()
}

function variables({ config, parameters }: ContestantOptions): Trained[] {
  return parameterLayout(config).map(({ shape, offset, size }) => {
    const values = tf.tensor(parameters.slice(offset, offset + size), [...shape], 'float32')
    return {
      parameter: tf.variable(values, true),
      first: tf.variable(tf.zerosLike(values), false),
      second: tf.variable(tf.zerosLike(values), false),
    }
  })
}

/** The cross entropy to report, and the gradient of it plus z-loss, one tensor a parameter. */
function lossAndGradients(
  trained: readonly Trained[],
  losses: (parameters: tf.Tensor[]) => { crossEntropy: tf.Scalar; zLoss: tf.Scalar },
) {
  const parameters = trained.map(({ parameter }) => parameter)
  let reported: tf.Scalar | undefined
  const { grads } = tf.variableGrads(() => {
    const { crossEntropy, zLoss } = losses(parameters)
    reported = tf.keep(crossEntropy)
    return tf.add<tf.Scalar>(crossEntropy, zLoss)
  }, parameters)
  const gradients = parameters.map(({ name }) => {
    const gradient = grads[name]
    if (!gradient) throw new Error('internal: a parameter without its gradient')
    return gradient
  })
  if (!reported) throw new Error('internal: the loss was not computed')
  return { crossEntropy: reported, gradients }
}

/** AdamW, after the gradient's global norm is clipped to 1. */
function update(trained: readonly Trained[], gradients: tf.Tensor[], factors: UpdateFactors): void {
  const scale = clippingFactor(gradients)
  trained.forEach(({ parameter, first, second }, i) => {
    const gradient = tf.mul(gradients[i] as tf.Tensor, scale) // one gradient a parameter
    first.assign(tf.add(tf.mul(first, BETA_1), tf.mul(gradient, 1 - BETA_1)))
    second.assign(tf.add(tf.mul(second, BETA_2), tf.mul(tf.square(gradient), 1 - BETA_2)))
    const spread = tf.add(tf.sqrt(tf.mul(second, factors.unbias)), EPSILON)
    const move = tf.div(tf.mul(first, factors.rate), spread)
    parameter.assign(tf.sub(tf.mul(parameter, factors.keep), move))
  })
}

function clippingFactor(gradients: readonly tf.Tensor[]): tf.Scalar {
  const squares = gradients.map((gradient) => tf.sum<tf.Scalar>(tf.square(gradient)))
  const norm = tf.sqrt(tf.sum<tf.Scalar>(tf.stack(squares)))
  return tf.minimum<tf.Scalar>(1, tf.div(1, tf.add(norm, NORM_EPSILON)))
}
