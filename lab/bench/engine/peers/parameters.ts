/**
 * The parameters under the names the arithmetic uses, and the constants of attention, for whatever array type a
 * peer has.
 */
import { type ModelConfig, ROPE_BASE } from '../../../../shared/model/config.ts'

/** The order of a block's tensors in shared/model/layout.ts. */
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
] as const

export type Block<T> = Record<(typeof BLOCK_ORDER)[number], T>

export interface Parameters<T> {
  embedding: T
  blocks: Block<T>[]
  finalNorm: T
}

/** `tensors` has one element for each entry of parameterLayout(config), in its order. */
export function named<T>(tensors: readonly T[], config: ModelConfig): Parameters<T> {
  let next = 0
  const take = () => {
    const tensor = tensors[next++]
    if (tensor === undefined) throw new Error('internal: fewer tensors than the layout has entries')
    return tensor
  }
  const embedding = take()
  const blocks = Array.from({ length: config.layers }, () => {
    // Every key of BLOCK_ORDER is set, and they are all of Block's.
    return Object.fromEntries(BLOCK_ORDER.map((name) => [name, take()])) as Block<T>
  })
  return { embedding, blocks, finalNorm: take() }
}

/** Position t turns pair i of the halves by t / 10000^(2i/D); row-major [T, D], both halves filled. */
export function rotationTables({ sequenceLength, headDim }: ModelConfig) {
  const half = headDim / 2
  const cos = new Float32Array(sequenceLength * headDim)
  const sin = new Float32Array(sequenceLength * headDim)
  for (let at = 0; at < cos.length; at++) {
    const angle = Math.floor(at / headDim) / ROPE_BASE ** ((2 * (at % half)) / headDim)
    cos[at] = Math.cos(angle)
    sin[at] = Math.sin(angle)
  }
  return { cos, sin }
}

/** 0 where key ≤ query, very negative elsewhere; row-major [T, T]. */
export function causalMask(length: number): Float32Array {
  const mask = new Float32Array(length * length)
  for (let row = 0; row < length; row++) mask.fill(-1e9, row * length + row + 1, (row + 1) * length)
  return mask
}
