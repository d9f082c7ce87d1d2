/**
 * What a plan may choose freely, because it changes speed and the order of sums but not what is computed. The tile of large
 * products is measured on the device (tune.ts); the rest is by rule, one set for GPUs and one for a GPU that is a program on
 * the CPU.
 */
import type { Element } from './kernel.ts'
import type { Product, Tile } from './kernels/matmul.ts'

export interface Choices {
  /** Of the states between kernels and their gradients; sums over rows, statistics, losses and parameters are f32. */
  readonly states: Element
  /** Sums over a row by subgroup operations, where threadsPerRow threads share one. */
  readonly subgroups: boolean
  tile(product: Product): Tile
  /** Parts that the depth of a weight's gradient is split in: 1, or more where it makes too few workgroups. */
  splits(product: Product): number
  /** Threads that share a row in LayerNorm: 1, or a power of two up to 256. */
  readonly threadsPerRow: number
  /** Threads that share a row of logits. */
  readonly lossParts: number
  /** Whether attention is in tiles; if not, the rows that a thread has, and takes at once: AttentionShape. */
  readonly attention: { readonly rows: number; readonly atOnce: number; readonly tiled?: boolean }
  /** Threads that sum squares, at most. */
  readonly squareParts: number
}

/** Multiply-adds from which a product is worth the measured tile, whose shader is long. */
export const LARGE = 2 ** 21

const direct = (rows: number, columns: number, across: number, down: number): Tile => {
  return { way: 'direct', rows, columns, across, down, depth: 4 }
}
const shared = (rows: number, columns: number, across: number, down: number, depth: number): Tile => {
  return { way: 'shared', rows, columns, across, down, depth }
}

/**
 * Tiles that are measured, best guess first. On SwiftShader a load costs as much as ten multiply-adds, so that the largest
 * tile is 1.4 times as fast as 8×8, and takes a second to compile.
 */
export const CANDIDATES = {
  software: [direct(16, 16, 2, 2), direct(16, 8, 2, 4), direct(8, 8, 4, 4)],
  gpu: [shared(8, 8, 8, 8, 16), shared(8, 8, 16, 16, 16), shared(4, 8, 8, 16, 16), direct(8, 8, 8, 8)],
} as const satisfies Record<string, readonly Tile[]>

/** No barriers, little parallelism, short shaders. */
export function cpuChoices(large: Tile = CANDIDATES.software[0]): Choices {
  return {
    states: 'f32',
    subgroups: false,
    tile: ({ m, n, k }) => (m * n * k < LARGE ? direct(4, 4, 4, 4) : large),
    splits: () => 1,
    threadsPerRow: 1,
    lossParts: 16,
    attention: { rows: 2, atOnce: 1 },
    squareParts: 1_024,
  }
}

/** Workgroups below which a GPU stands idle: smaller tiles, or splits, make more of them. */
const FEW_GROUPS = 128
/** A part of a split product is at least so deep: below it, adding up costs more than it gives. */
const LEAST_DEPTH = 256
const MOST_SPLITS = 16

export function gpuChoices(large: Tile = CANDIDATES.gpu[0]): Choices {
  const groupsOf = ({ m, n, batch }: Product) => {
    const { rows, columns, across, down } = large
    return Math.ceil(m / (rows * down)) * Math.ceil(n / (columns * across)) * (batch?.count ?? 1)
  }
  return {
    states: 'f32',
    subgroups: false,
    tile: (product) =>
      groupsOf(product) * (product.splits ?? 1) < FEW_GROUPS ? shared(4, 4, 8, 8, 16) : large,
    splits(product) {
      const wanted = Math.ceil(FEW_GROUPS / groupsOf(product))
      return Math.max(1, Math.min(wanted, MOST_SPLITS, Math.floor(product.k / LEAST_DEPTH)))
    },
    threadsPerRow: 64,
    lossParts: 64,
    // Where tiles do not fit: as few registers as there can be.
    attention: { rows: 1, atOnce: 1, tiled: true },
    squareParts: 16_384,
  }
}
