/**
 * The one flat order of parameters: the contract of codec, aggregation, checkpoints and export. A model's
 * parameters are a single Float32Array; every tensor is a contiguous, row-major part of it.
 */
import type { ModelConfig } from './config.ts'

export interface ParameterEntry {
  /** Hugging Face style, e.g. `model.layers.0.self_attn.q_proj.weight`. */
  readonly name: string
  /** Row-major. Matrices are [inputs, outputs], so that y = x·W; the embedding is [vocabulary, dModel]. */
  readonly shape: readonly number[]
  /** Index of the first element in the flat array. */
  readonly offset: number
  /** Number of elements. */
  readonly size: number
  /** Transformer block the tensor belongs to, or -1 for embedding and final norm. */
  readonly layer: number
}

/** `size` elements from index `offset` of the flat parameters. */
export interface ParameterRange {
  readonly offset: number
  readonly size: number
}

/** How a tensor starts: `residual` is normal(0.02)/√(2L), for the two projections that write to the residual. */
export type Initial = 'normal' | 'residual' | 'ones'

const blockTensors = (c: ModelConfig): [string, number[]][] => [
  ['input_layernorm.weight', [c.dModel]],
  ['self_attn.q_proj.weight', [c.dModel, c.dModel]],
  ['self_attn.k_proj.weight', [c.dModel, c.dModel]],
  ['self_attn.v_proj.weight', [c.dModel, c.dModel]],
  ['self_attn.q_norm.weight', [c.headDim]],
  ['self_attn.k_norm.weight', [c.headDim]],
  ['self_attn.o_proj.weight', [c.dModel, c.dModel]],
  ['post_attention_layernorm.weight', [c.dModel]],
  ['mlp.gate_proj.weight', [c.dModel, c.hidden]],
  ['mlp.up_proj.weight', [c.dModel, c.hidden]],
  ['mlp.down_proj.weight', [c.hidden, c.dModel]],
]

/** All tensors in order: embedding, the blocks from first to last, final norm. */
export function parameterLayout(config: ModelConfig): ParameterEntry[] {
  const entries: ParameterEntry[] = []
  let offset = 0
  const add = (name: string, shape: number[], layer: number) => {
    const size = shape.reduce((product, n) => product * n, 1)
    entries.push({ name, shape, offset, size, layer })
    offset += size
  }
  add('model.embed_tokens.weight', [config.vocabSize, config.dModel], -1)
  for (let layer = 0; layer < config.layers; layer++) {
    for (const [name, shape] of blockTensors(config)) add(`model.layers.${layer}.${name}`, shape, layer)
  }
  add('model.norm.weight', [config.dModel], -1)
  return entries
}

/** Number of parameters, the tied embedding counted once. */
export function parameterCount(config: ModelConfig): number {
  return parameterLayout(config).reduce((sum, entry) => sum + entry.size, 0)
}

/**
 * The parameters in `count` fragments by layers, strided as in Streaming DiLoCo (arXiv 2501.18512): layer l is of
 * fragment l mod count; embedding and final norm are of the first. Every fragment's ranges are in layout order.
 */
export function fragments(config: ModelConfig, count: number): ParameterRange[][] {
  const all: ParameterRange[][] = Array.from({ length: count }, () => [])
  for (const { layer, offset, size } of parameterLayout(config)) {
    const ranges = all[Math.max(0, layer) % count]
    const last = ranges?.at(-1)
    if (last && last.offset + last.size === offset) ranges?.splice(-1, 1, { ...last, size: last.size + size })
    else ranges?.push({ offset, size })
  }
  return all
}

/** The ranges' elements one after another: a view when they are one range, else a copy. */
export function gathered(
  values: Float32Array<ArrayBuffer>,
  ranges: readonly ParameterRange[],
): Float32Array<ArrayBuffer> {
  const [first] = ranges
  if (first && ranges.length === 1) return values.subarray(first.offset, first.offset + first.size)
  const part = new Float32Array(ranges.reduce((sum, { size }) => sum + size, 0))
  let at = 0
  for (const { offset, size } of ranges) {
    part.set(values.subarray(offset, offset + size), at)
    at += size
  }
  return part
}

/** The inverse of `gathered`, into `values`. */
export function scatter(part: Float32Array, ranges: readonly ParameterRange[], values: Float32Array): void {
  let at = 0
  for (const { offset, size } of ranges) {
    values.set(part.subarray(at, at + size), offset)
    at += size
  }
}

export function initialOf(entry: ParameterEntry): Initial {
  if (entry.name.endsWith('norm.weight')) return 'ones'
  return /\.(o_proj|down_proj)\.weight$/.test(entry.name) ? 'residual' : 'normal'
}
