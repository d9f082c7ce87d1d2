/**
 * AdamW as in PyTorch: decoupled weight decay multiplied by the learning rate, on every tensor (gains and
 * embedding too), bias correction by the number of updates, and before it the clipping of the gradient's global
 * norm to 1. Here are the numbers that all engines share; the implementations are tfjs/*AdamW.ts and
 * compiled/kernels/update.ts.
 */
import type { ParameterRange } from '../model/layout.ts'

export const BETA_1 = 0.9
export const BETA_2 = 0.99
export const EPSILON = 1e-8
export const LONGEST_GRADIENT = 1
/** Keeps the clipping factor finite, as torch.nn.utils.clip_grad_norm_ does. */
export const NORM_EPSILON = 1e-6

/** What an update needs beside parameter, moments and gradient; PyTorch's order of operations. */
export interface UpdateNumbers {
  /** Factor on the parameter: 1 − learning rate · λ. */
  readonly keep: number
  /** Learning rate over the first moment's bias correction. */
  readonly rate: number
  /** One over the second moment's bias correction. */
  readonly unbias: number
}

/** `updates` counts this one. */
export function updateNumbers(learningRate: number, weightDecay: number, updates: number): UpdateNumbers {
  return {
    keep: 1 - learningRate * weightDecay,
    rate: learningRate / (1 - BETA_1 ** updates),
    unbias: 1 / (1 - BETA_2 ** updates),
  }
}

/** The part of a range that lies in one tensor. */
export interface Piece {
  /** Index of the tensor in the layout. */
  readonly tensor: number
  /** First element within the tensor. */
  readonly from: number
  readonly size: number
  /** Where the piece begins among all the ranges' elements. */
  readonly at: number
}

/** Ranges cut at the borders of tensors. */
export function piecesOf(layout: readonly ParameterRange[], ranges: readonly ParameterRange[]): Piece[] {
  let at = 0
  return ranges.flatMap((range) => {
    const begin = at
    at += range.size
    return layout.flatMap((entry, tensor) => {
      const first = Math.max(entry.offset, range.offset)
      const size = Math.min(entry.offset + entry.size, range.offset + range.size) - first
      return size > 0 ? [{ tensor, from: first - entry.offset, size, at: begin + first - range.offset }] : []
    })
  })
}
