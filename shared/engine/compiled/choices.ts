/**
 * What a plan may choose freely, because it changes speed and the order of sums but not what is computed. tune.ts chooses
 * by measurement; here are the two starting points.
 */
import type { Product, Tile } from './kernels/matmul.ts'

export interface Choices {
  tile(product: Product): Tile
  /** Threads that share a row in LayerNorm: 1, or a power of two up to 256. */
  readonly threadsPerRow: number
  /** Threads that share a row of logits. */
  readonly lossParts: number
  /** Keys, or queries, that attention takes at once. */
  readonly attentionAtOnce: number
  /** Threads that sum squares, at most. */
  readonly squareParts: number
}

/** Multiplications below which a product is not worth a large tile, whose shader takes a third of a second to compile. */
const SMALL = 2 ** 19

/** For a GPU that is a program on the CPU: no barriers, little parallelism, short shaders. */
export const CPU_CHOICES: Choices = {
  tile({ m, n, k }) {
    const side = m * n * k < SMALL ? 4 : 8
    return { way: 'direct', rows: side, columns: side, across: 4, down: 4, depth: 4 }
  },
  threadsPerRow: 1,
  lossParts: 16,
  attentionAtOnce: 1,
  squareParts: 1_024,
}

/** For a GPU. */
export const GPU_CHOICES: Choices = {
  tile: () => ({ way: 'shared', rows: 8, columns: 8, across: 8, down: 8, depth: 16 }),
  threadsPerRow: 64,
  lossParts: 64,
  attentionAtOnce: 4,
  squareParts: 16_384,
}
