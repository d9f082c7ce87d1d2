/**
 * The model and its inner step once more in f64, for tests and for a device's self-test: explicit loops over plain
 * arrays, the backward pass written by hand and checked by finite differences (reference.test.ts). It follows the
 * description of the algorithm and shares with the engine nothing but the layout, the constants and the schedule.
 * Millions of parameters times hundreds of tokens take seconds.
 *
 * Shapes stand at line ends: B sequences of T tokens, N = B·T rows, d = dModel, h = hidden, H = heads, D = headDim,
 * V = vocabSize. The matrix arithmetic is in referenceMatrix.ts.
 */
import { type ModelConfig, Z_LOSS } from '../model/config.ts'
import { parameterLayout } from '../model/layout.ts'
import type { TrainJob } from './engine.ts'
import {
  add,
  attend,
  attendBackward,
  gatedSilu,
  gatedSiluBackward,
  type Matrix,
  matrix,
  multiply,
  multiplyTransposed,
  type Normed,
  normalise,
  normaliseBackward,
  reshape,
  rotate,
  sumProducts,
} from './referenceMatrix.ts'
import { innerLearningRate, localWarmup } from './schedule.ts'

const BETA_1 = 0.9
const BETA_2 = 0.99
const EPSILON = 1e-8

/** The tensor of that name as a matrix whose values are a part of the flat array; a gain is one row. */
type Tensors = (name: string) => Matrix

/** Logits of every position: [sequences·length, V], row-major. `ids` are whole inputs without a last target. */
export function referenceLogits(
  config: ModelConfig,
  parameters: ArrayLike<number>,
  ids: readonly number[],
  length = config.sequenceLength,
): Float64Array {
  const weights = tensorsOf(config, Float64Array.from(parameters))
  return forward(config, weights, ids, length).logits.values
}

/** Cross entropy of every predicted token in nats. */
export function referenceLosses(
  config: ModelConfig,
  parameters: ArrayLike<number>,
  ids: Uint16Array,
): number[] {
  const { inputs, targets } = split(config, ids)
  const logits = referenceLogits(config, parameters, inputs)
  return rowLosses(matrix(inputs.length, config.vocabSize, logits), targets).crossEntropies
}

/** The likeliest id to follow `ids`. */
export function referenceNext(
  config: ModelConfig,
  parameters: ArrayLike<number>,
  ids: readonly number[],
): number {
  const last = referenceLogits(config, parameters, ids, ids.length).subarray(-config.vocabSize)
  return last.reduce((best, logit, id) => (logit > (last[best] as number) ? id : best), 0)
}

/** Mean cross entropy, mean z-loss with its weight, and the gradient of their sum in layout order. */
export function referenceGradient(config: ModelConfig, parameters: ArrayLike<number>, ids: Uint16Array) {
  const { inputs, targets } = split(config, ids)
  const weights = tensorsOf(config, Float64Array.from(parameters))
  const gradient = new Float64Array(parameters.length)
  const gradients = tensorsOf(config, gradient)
  const passed = forward(config, weights, inputs, config.sequenceLength)
  const { loss, zLoss, dLogits } = referenceLoss(passed.logits, targets)
  backward(config, weights, gradients, passed, inputs, dLogits)
  return { loss, zLoss, gradient }
}

/** The whole job in f64 from zero moments. */
export function referenceTrain(config: ModelConfig, initial: ArrayLike<number>, job: TrainJob) {
  const parameters = Float64Array.from(initial)
  const first = new Float64Array(parameters.length)
  const second = new Float64Array(parameters.length)
  const losses: number[] = []
  const perStep = job.batchSize * (config.sequenceLength + 1)
  for (let step = 0; step < job.steps; step++) {
    const ids = job.sequences.subarray(step * perStep, (step + 1) * perStep)
    const { loss, gradient } = referenceGradient(config, parameters, ids)
    losses.push(loss)
    const scheduled = innerLearningRate(job.firstStep + step, job.totalSteps, job.peakLearningRate)
    const rate = scheduled * localWarmup(step)
    referenceAdamW({ parameters, first, second }, gradient, step + 1, rate, 1 / job.totalSteps)
  }
  return { parameters, first, second, losses }
}

/** Update number `update` (from 1) in place, as torch's clip_grad_norm_(1) and AdamW describe it. */
export function referenceAdamW(
  { parameters, first, second }: Record<'parameters' | 'first' | 'second', Float64Array>,
  gradient: Float64Array,
  update: number,
  learningRate: number,
  weightDecay: number,
): void {
  const clip = referenceClip(gradient)
  for (const [i, unclipped] of gradient.entries()) {
    const g = unclipped * clip
    const m = BETA_1 * (first[i] as number) + (1 - BETA_1) * g
    const v = BETA_2 * (second[i] as number) + (1 - BETA_2) * g * g
    const decayed = (parameters[i] as number) * (1 - learningRate * weightDecay)
    const direction = m / (1 - BETA_1 ** update) / (Math.sqrt(v / (1 - BETA_2 ** update)) + EPSILON)
    first[i] = m
    second[i] = v
    parameters[i] = decayed - learningRate * direction
  }
}

/** The factor that clips a gradient's global norm to 1. */
export function referenceClip(gradient: Float64Array): number {
  const squares = gradient.reduce((sum, g) => sum + g * g, 0)
  return Math.min(1, 1 / (Math.sqrt(squares) + 1e-6))
}

/** logits: [N, V]. dLogits is the gradient of loss + zLoss. */
export function referenceLoss(logits: Matrix, targets: readonly number[]) {
  const { crossEntropies, logSumExps } = rowLosses(logits, targets)
  const dLogits = matrix(logits.rows, logits.columns) // [N, V]
  const { rows, columns } = logits
  for (let n = 0; n < rows; n++) {
    const logSumExp = logSumExps[n] as number
    for (let j = 0; j < columns; j++) {
      const p = Math.exp((logits.values[n * columns + j] as number) - logSumExp)
      const wanted = j === targets[n] ? 1 : 0
      dLogits.values[n * columns + j] = (p - wanted + 2 * Z_LOSS * logSumExp * p) / rows
    }
  }
  const mean = (list: readonly number[]) => list.reduce((sum, x) => sum + x, 0) / rows
  return { loss: mean(crossEntropies), zLoss: Z_LOSS * mean(logSumExps.map((x) => x * x)), dLogits }
}

function rowLosses({ rows, columns, values }: Matrix, targets: readonly number[]) {
  const logSumExps = Array.from({ length: rows }, (_, n) => {
    const row = values.subarray(n * columns, (n + 1) * columns)
    const largest = row.reduce((a, b) => Math.max(a, b))
    return largest + Math.log(row.reduce((sum, logit) => sum + Math.exp(logit - largest), 0))
  })
  const crossEntropies = logSumExps.map(
    (logSumExp, n) => logSumExp - (values[n * columns + (targets[n] as number)] as number),
  )
  return { logSumExps, crossEntropies }
}

/** What a block's backward pass reads. */
interface PassedBlock {
  readonly input: Normed // y: [N, d]
  readonly queries: Normed // y: [N·H, D]
  readonly keys: Normed
  readonly turned: readonly [Matrix, Matrix] // queries and keys after the rotation, [N, d]
  readonly values: Matrix // [N, d]
  readonly probabilities: Float64Array // [B, H, T, T]
  readonly merged: Matrix // [N, d]
  readonly post: Normed // y: [N, d]
  readonly gate: Matrix // [N, h]
  readonly up: Matrix // [N, h]
  readonly mixed: Matrix // [N, h]
}

interface Passed {
  readonly blocks: readonly PassedBlock[]
  readonly final: Normed
  readonly logits: Matrix // [N, V]
}

function forward(config: ModelConfig, weights: Tensors, ids: readonly number[], length: number): Passed {
  const embedding = weights('model.embed_tokens') // [V, d]
  const x = matrix(ids.length, config.dModel) // [N, d]
  ids.forEach((id, n) => {
    x.values.set(rowOf(embedding, id), n * config.dModel)
  })
  const blocks = Array.from({ length: config.layers }, (_, layer) =>
    forwardBlock(config, namedUnder(weights, layer), x, length),
  )
  const final = normalise(x, weights('model.norm'))
  return { blocks, final, logits: multiplyTransposed(final.y, embedding) }
}

/** Adds both halves' outputs to `x`, in place. */
function forwardBlock(config: ModelConfig, weights: Tensors, x: Matrix, length: number): PassedBlock {
  const perHead = (m: Matrix) => reshape(m, config.headDim) // [N·H, D]
  const whole = (m: Matrix) => reshape(m, config.dModel) // [N, d]
  const { heads } = config
  const input = normalise(x, weights('input_layernorm'))
  const queries = normalise(
    perHead(multiply(input.y, weights('self_attn.q_proj'))),
    weights('self_attn.q_norm'),
  )
  const keys = normalise(perHead(multiply(input.y, weights('self_attn.k_proj'))), weights('self_attn.k_norm'))
  const values = multiply(input.y, weights('self_attn.v_proj'))
  const turned = [
    whole(rotate(queries.y, heads, length, 1)),
    whole(rotate(keys.y, heads, length, 1)),
  ] as const
  const { merged, probabilities } = attend(...turned, values, heads, length)
  add(x, multiply(merged, weights('self_attn.o_proj')))
  const post = normalise(x, weights('post_attention_layernorm'))
  const gate = multiply(post.y, weights('mlp.gate_proj'))
  const up = multiply(post.y, weights('mlp.up_proj'))
  const mixed = gatedSilu(gate, up)
  add(x, multiply(mixed, weights('mlp.down_proj')))
  return { input, queries, keys, turned, values, probabilities, merged, post, gate, up, mixed }
}

/** Adds to `gradients`, which start at zero. */
function backward(
  config: ModelConfig,
  weights: Tensors,
  gradients: Tensors,
  { blocks, final }: Passed,
  ids: readonly number[],
  dLogits: Matrix,
): void {
  const dEmbedding = gradients('model.embed_tokens')
  sumProducts(dEmbedding, dLogits, final.y)
  const dFinal = multiply(dLogits, weights('model.embed_tokens')) // [N, d]
  const dx = normaliseBackward(dFinal, final, weights('model.norm'), gradients('model.norm'))
  for (const [layer, passed] of [...blocks.entries()].reverse()) {
    backwardBlock(config, namedUnder(weights, layer), namedUnder(gradients, layer), passed, dx)
  }
  ids.forEach((id, n) => {
    add(matrix(1, config.dModel, rowOf(dEmbedding, id)), matrix(1, config.dModel, rowOf(dx, n)))
  })
}

/** `dx`, the gradient of the block's output, becomes that of its input, in place. */
function backwardBlock(
  config: ModelConfig,
  weights: Tensors,
  gradients: Tensors,
  s: PassedBlock,
  dx: Matrix,
): void {
  /** The gradient before a projection y = x·W, given the one after it; adds the one of W. */
  const unproject = (name: string, x: Matrix, dy: Matrix) => {
    sumProducts(gradients(name), x, dy)
    return multiplyTransposed(dy, weights(name))
  }
  const unnormalise = (name: string, dy: Matrix, kept: Normed) =>
    normaliseBackward(dy, kept, weights(name), gradients(name))

  const dMixed = unproject('mlp.down_proj', s.mixed, dx) // [N, h]
  const { dGate, dUp } = gatedSiluBackward(dMixed, s.gate, s.up)
  const dPost = unproject('mlp.gate_proj', s.post.y, dGate) // [N, d]
  add(dPost, unproject('mlp.up_proj', s.post.y, dUp))
  add(dx, unnormalise('post_attention_layernorm', dPost, s.post))

  const dMerged = unproject('self_attn.o_proj', s.merged, dx) // [N, d]
  const length = s.probabilities.length / s.queries.y.rows // B·H·T·T over B·T·H
  const { dq, dk, dv } = attendBackward(dMerged, ...s.turned, s.values, s.probabilities, config.heads, length)
  const unturn = (m: Matrix) => rotate(reshape(m, config.headDim), config.heads, length, -1) // [N·H, D]
  const dQueries = reshape(unnormalise('self_attn.q_norm', unturn(dq), s.queries), config.dModel) // [N, d]
  const dKeys = reshape(unnormalise('self_attn.k_norm', unturn(dk), s.keys), config.dModel)
  const dInput = unproject('self_attn.q_proj', s.input.y, dQueries) // [N, d]
  add(dInput, unproject('self_attn.k_proj', s.input.y, dKeys))
  add(dInput, unproject('self_attn.v_proj', s.input.y, dv))
  add(dx, unnormalise('input_layernorm', dInput, s.input))
}

function tensorsOf(config: ModelConfig, flat: Float64Array): Tensors {
  const all = new Map(
    parameterLayout(config).map(({ name, shape, offset, size }) => {
      const columns = shape.at(-1) as number // no tensor is a scalar
      return [name, matrix(size / columns, columns, flat.subarray(offset, offset + size))]
    }),
  )
  return (name) => {
    const found = all.get(`${name}.weight`)
    if (!found) throw new Error(`internal: no tensor ${name}.weight`)
    return found
  }
}

function namedUnder(tensors: Tensors, layer: number): Tensors {
  return (name) => tensors(`model.layers.${layer}.${name}`)
}

function rowOf({ columns, values }: Matrix, index: number): Float64Array {
  return values.subarray(index * columns, (index + 1) * columns)
}

/** Whole sequences of T + 1 ids → N inputs and the N ids that follow them. */
function split({ sequenceLength: T }: ModelConfig, ids: Uint16Array) {
  const starts = Array.from({ length: ids.length / (T + 1) }, (_, s) => s * (T + 1))
  return {
    inputs: starts.flatMap((at) => Array.from(ids.subarray(at, at + T))),
    targets: starts.flatMap((at) => Array.from(ids.subarray(at + 1, at + T + 1))),
  }
}
