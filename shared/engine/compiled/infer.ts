/** The uses of a replica that change nothing: evaluation and generation. */
import { randomFrom } from '../../model/random.ts'
import type { Evaluation, GenerateOptions } from '../engine.ts'
import { sampleId } from '../sample.ts'
import { readParts } from './executor.ts'
import type { Ready } from './plans.ts'
import type { Replica } from './replica.ts'
import type { EvaluationPlan, NextPlan } from './step.ts'

/**
 * Cross entropy of every token of any number of whole sequences, [sequences, sequenceLength]; a short last chunk is
 * filled up with ids not counted.
 */
export async function tokenLosses(
  { config, open }: Replica,
  { plan, executable }: Ready<EvaluationPlan>,
  sequences: Uint16Array,
): Promise<Float32Array<ArrayBuffer>> {
  const { sequenceLength } = config
  const rowsOf = (ids: number) => (ids / (sequenceLength + 1)) * sequenceLength
  const atOnce = plan.ids.size
  const all = new Float32Array(rowsOf(sequences.length))
  for (let from = 0; from < sequences.length; from += atOnce) {
    const chunk = sequences.subarray(from, from + atOnce)
    const padded = new Uint32Array(atOnce)
    padded.set(chunk)
    open.device.queue.writeBuffer(executable.bufferOf(plan.ids), 0, padded)
    executable.pass()
    const losses = { buffer: executable.bufferOf(plan.losses), offset: 0, size: rowsOf(chunk.length) }
    all.set(await readParts(open, [losses]), rowsOf(from))
  }
  return all
}

/** Their sum, in f64. */
export async function evaluate(
  replica: Replica,
  ready: Ready<EvaluationPlan>,
  sequences: Uint16Array,
): Promise<Evaluation> {
  const losses = await tokenLosses(replica, ready, sequences)
  let nats = 0
  for (const loss of losses) nats += loss
  return { nats, tokens: losses.length }
}

/** The prompt and `options.tokens` more ids, each from the last `sequenceLength` ones before it. */
export async function generate(
  replica: Replica,
  ready: Ready<NextPlan>,
  prompt: readonly number[],
  options: GenerateOptions,
): Promise<number[]> {
  const uniform = randomFrom(options.seed)
  const ids = [...prompt]
  for (let n = 0; n < options.tokens; n++) {
    const logits = await nextLogits(replica, ready, ids)
    ids.push(sampleId(logits, options.temperature, options.topK, uniform()))
  }
  return ids
}

/** [V], of the id that follows `ids`. */
export function nextLogits(
  { config, open }: Replica,
  { plan, executable }: Ready<NextPlan>,
  ids: readonly number[],
): Promise<Float32Array> {
  const { queue } = open.device
  const context = ids.slice(-config.sequenceLength)
  // What stands after the last id cannot be seen by it, so the padding's value does not matter.
  const padded = new Uint32Array(plan.ids.size)
  padded.set(context)
  queue.writeBuffer(executable.bufferOf(plan.ids), 0, padded)
  queue.writeBuffer(executable.bufferOf(plan.row), 0, Uint32Array.of(context.length - 1))
  executable.pass()
  return readParts(open, [{ buffer: executable.bufferOf(plan.logits), offset: 0, size: config.vocabSize }])
}
