/**
 * The uses of a replica that change nothing: evaluation and generation. Short chunks and contexts are padded,
 * because the webgpu backend keeps freed buffers by their size for ever.
 */
import * as tf from '@tensorflow/tfjs-core'
import { randomFrom } from '../../model/random.ts'
import { badJob, checkIds, checkSequences } from '../checks.ts'
import type { Evaluation, GenerateOptions } from '../engine.ts'
import { sampleId } from '../sample.ts'
import { crossEntropies } from './loss.ts'
import { hiddenStates } from './model.ts'
import { named } from './parameters.ts'
import type { Replica } from './replica.ts'
import { toBatch } from './train.ts'

/** Tokens evaluated at once, at least one sequence. */
const EVALUATION_TOKENS = 512

/** Cross entropy of every token of any number of whole sequences, [sequences, sequenceLength]. */
export async function tokenLosses(
  replica: Replica,
  sequences: Uint16Array,
): Promise<Float32Array<ArrayBuffer>> {
  const { sequenceLength } = replica.config
  const count = checkSequences(sequences, replica.config)
  const atOnce = Math.max(1, Math.min(count, Math.floor(EVALUATION_TOKENS / sequenceLength)))
  const all = new Float32Array(count * sequenceLength)
  for (let from = 0; from < count; from += atOnce) {
    const here = Math.min(atOnce, count - from)
    const padded = new Uint16Array(atOnce * (sequenceLength + 1))
    padded.set(sequences.subarray(from * (sequenceLength + 1), (from + here) * (sequenceLength + 1)))
    const losses = await replica.open.guard(() => read(() => paddedLosses(replica, padded)))
    all.set(losses.subarray(0, here * sequenceLength), from * sequenceLength)
  }
  return all
}

/** Their sum, in f64. */
export async function evaluate(replica: Replica, sequences: Uint16Array): Promise<Evaluation> {
  const losses = await tokenLosses(replica, sequences)
  let nats = 0
  for (const loss of losses) nats += loss
  return { nats, tokens: losses.length }
}

function paddedLosses({ config, constants, optimiser }: Replica, sequences: Uint16Array): tf.Tensor1D {
  const { inputs, targets } = toBatch(sequences, config.sequenceLength)
  const tensors = optimiser.tensors()
  const hidden = hiddenStates(tensors, inputs, constants) // [N, d]
  return crossEntropies(constants.kernels, hidden, named(tensors, config).embedding, targets) // [N]
}

/** The prompt and `options.tokens` more ids, each from the last `sequenceLength` ones before it. */
export async function generate(
  replica: Replica,
  prompt: readonly number[],
  options: GenerateOptions,
): Promise<number[]> {
  if (prompt.length === 0) throw badJob('A prompt needs at least one token id.')
  checkIds(prompt, replica.config)
  const uniform = randomFrom(options.seed)
  const ids = [...prompt]
  for (let n = 0; n < options.tokens; n++) {
    const logits = await replica.open.guard(() => read(() => nextLogits(replica, ids)))
    ids.push(sampleId(logits, options.temperature, options.topK, uniform()))
  }
  return ids
}

function nextLogits({ config, constants, optimiser }: Replica, ids: readonly number[]): tf.Tensor2D {
  const context = ids.slice(-config.sequenceLength)
  // What stands after the last id cannot be seen by it, so the padding's value does not matter.
  const padded = new Int32Array(config.sequenceLength)
  padded.set(context)
  const tensors = optimiser.tensors()
  const hidden = hiddenStates(tensors, tf.tensor1d(padded, 'int32'), constants) // [T, d]
  const last = tf.slice(hidden, [context.length - 1, 0], [1, -1]) // [1, d]
  return constants.kernels.productWithTransposed(last, named(tensors, config).embedding) // [1, V]
}

/** Runs operations, reads their result (device → CPU), and frees everything. */
async function read(make: () => tf.Tensor): Promise<Float32Array> {
  const result = tf.tidy(make)
  try {
    return await result.data<'float32'>()
  } finally {
    result.dispose()
  }
}
