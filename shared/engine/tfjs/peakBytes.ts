/**
 * How much memory an inner step takes at its peak, before it is taken: so that a page can say what fits and choose the
 * micro-batch. A model of the live tensors of model.ts, block.ts and loss.ts, phase by phase; it counts in elements
 * and its terms carry the shapes that the code's line ends do. Tested against what backends really allocate
 * (peakBytes.*.test.ts); a change in those files that keeps or frees more belongs here too.
 */
import type { ModelConfig } from '../../model/config.ts'
import { parameterCount, parameterLayout } from '../../model/layout.ts'
import type { Backend } from '../engine.ts'
import {
  headsAtOnce,
  keepsProbabilities,
  keepsStates,
  MOST_FLAT,
  rowsAtOnce,
  stateElements,
  transposesWide,
} from './chunks.ts'

export interface StepShape {
  readonly backend: Backend
  /** Sequences computed at once. */
  readonly microBatch: number
  /** Whether several micro-batches make a batch: their gradients are kept beside those being made. */
  readonly accumulates: boolean
  /** As the engine was told; default: when large. */
  readonly recomputesBlocks?: boolean
}

/** Bytes. */
export function predictPeakBytes(config: ModelConfig, shape: StepShape): number {
  const sizes = sizesOf(config, shape)
  const peak = Math.max(lossPhase(sizes), backwardPhase(sizes), endPhase(sizes), updatePhase(sizes))
  switch (shape.backend) {
    case 'wasm':
      return 4 * (standing(sizes) + peak)
    case 'webgpu':
      return 4 * (standing(sizes) + POOL * peak)
    case 'webgl':
      return 4 * TEXTURES * (standing(sizes) + peak)
    default:
      return shape.backend satisfies never
  }
}

/** AdamW's two. */
export const momentBytes = (config: ModelConfig) => 2 * 4 * parameterCount(config)

/**
 * The webgpu backend keeps freed buffers by their exact size and hands them back only at the next submit, so that what
 * comes and goes takes 1.5 to 2 times its live bytes (peakBytes.browser.test.ts).
 */
const POOL = 1.7
/** The webgl backend keeps freed textures by their shape and never deletes one: 3.4 to 5.1 times what is live. */
const TEXTURES = 4.2

interface Sizes {
  readonly backend: Backend
  readonly accumulates: boolean
  readonly heap: boolean
  readonly parameters: number
  readonly block: number
  readonly layers: number
  readonly embedding: number
  readonly vocabulary: number
  /** [N, d] */
  readonly wide: number
  /** [N, h] */
  readonly inner: number
  readonly d: number
  readonly h: number
  readonly rows: number
  readonly constants: number
  /** Kept of a block between the passes. */
  readonly state: number
  readonly keepsStates: boolean
  /** [heads at once, T, T] */
  readonly scores: number
  readonly keepsProbabilities: boolean
}

function sizesOf(
  config: ModelConfig,
  { backend, microBatch, accumulates, recomputesBlocks }: StepShape,
): Sizes {
  const { dModel: d, hidden: h, heads, headDim, sequenceLength: length, layers, vocabSize } = config
  const rows = microBatch * length
  const parameters = parameterCount(config)
  const block = parameterLayout(config).reduce((sum, { layer, size }) => sum + (layer === 0 ? size : 0), 0)
  return {
    backend,
    accumulates,
    heap: backend === 'wasm',
    parameters,
    block,
    layers,
    embedding: vocabSize * d,
    vocabulary: vocabSize,
    wide: rows * d,
    inner: rows * h,
    d,
    h,
    rows,
    constants: length * length + 4 * length * headDim,
    state: stateElements(config, microBatch),
    keepsStates: keepsStates(config, microBatch, recomputesBlocks ? 0 : undefined),
    scores: Math.min(microBatch * heads, headsAtOnce(length)) * length * length,
    keepsProbabilities: keepsProbabilities(microBatch * heads, length),
  }
}

/** Parameters, what the optimiser keeps (on wasm in JavaScript's memory), and what a micro-batch finds there. */
function standing({ backend, parameters, accumulates, constants }: Sizes): number {
  const optimiser = { wasm: 2, webgpu: 2, webgl: 3 }[backend]
  return parameters * (1 + optimiser + (accumulates ? 1 : 0)) + constants
}

/** Inputs and states of so many blocks. */
function keptBlocks({ keepsStates, state, wide }: Sizes, blocks: number): number {
  return blocks * (wide + (keepsStates ? state : 0))
}

function lossPhase(s: Sizes): number {
  const rows = Math.min(s.rows, rowsAtOnce(s.vocabulary))
  const logits = rows * s.vocabulary
  const chunked = rows < s.rows
  const ofChunk = rows * s.d * (chunked ? 6 : 5)
  const transposedEmbedding = s.backend === 'webgl' ? 0 : s.embedding
  const transposedLogits = s.backend === 'wasm' && transposesWide(rows, s.vocabulary) ? logits : 0
  const forward = Math.max(logits + transposedEmbedding, 2 * logits)
  const gradients = logits + Math.max(transposedLogits + 2 * s.embedding, 3 * s.embedding)
  const earlier = chunked ? s.embedding + s.wide : 0 // the sum so far, and dx
  return keptBlocks(s, s.layers) + 3 * s.wide + earlier + ofChunk + Math.max(forward, gradients)
}

function backwardPhase(s: Sizes): number {
  const temporary =
    Math.max(feedForwardBackward(s), attentionBackward(s)) + (s.keepsStates ? 0 : s.state + 4 * s.wide)
  const afterBlocks = (done: number) => keptBlocks(s, s.layers - done) + done * s.block
  return s.embedding + s.wide + temporary + Math.max(afterBlocks(0), afterBlocks(s.layers - 1))
}

function feedForwardBackward({ backend, inner, wide, d, h }: Sizes): number {
  const slopes = { wasm: 5, webgpu: 3, webgl: 13 }[backend] * inner
  const input = 2 * inner + 4 * d * h + 2 * wide
  return 3 * d * h + Math.max(slopes, input)
}

function attentionBackward({ heap, wide, d, scores, keepsProbabilities }: Sizes): number {
  const withScores = (keepsProbabilities ? 0 : 1) * scores + (heap ? 3 : 2) * scores + 4 * wide
  const withHeads = (heap ? 7 : 16) * wide
  return wide + d * d + Math.max(withScores, withHeads)
}

function endPhase({ parameters, embedding, wide, accumulates }: Sizes): number {
  return parameters + 2 * embedding + (accumulates ? 0 : wide)
}

function updatePhase({ backend, parameters, embedding }: Sizes): number {
  // Gradients, flat ones, and what the update of a flat tensor makes: deviceAdamW.ts.
  const flat = Math.min(parameters, Math.max(MOST_FLAT, embedding))
  return backend === 'webgl' ? 2 * parameters + 8 * flat : parameters
}
