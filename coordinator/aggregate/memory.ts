/**
 * The memory that the threads of one merge share, and what lies where in it: one slice of everything. Its size
 * depends on codecs alone, neither on the model nor on the number of contributions.
 */
import { CODECS, type CodecName } from '../../shared/codec/codec.ts'
import { KERNEL_BLOCK } from './accumulateKernel.ts'
import { SEAL_BYTES } from './sealKernel.ts'

/** Parameters of a slice: whole blocks of every codec, and few enough that a slice stays in the processor's cache. */
export const SLICE = 65_536
/** Contributions whose slices are in memory at once, and once more while the next ones are read. */
export const GROUP = 8

export const MOST_THREADS = 16

/** Reading a file is several times slower to addresses that are no multiple of 64. */
const ALIGNMENT = 64
const PAGE = 65_536

export interface Layout {
  /** Addresses in bytes. */
  readonly weights: number
  readonly exact: number
  readonly velocity: number
  readonly sum: number
  readonly newWeights: number
  readonly newExact: number
  readonly newVelocity: number
  /** θ − θ̂, then what it becomes through the downlink's codec, in f32. */
  readonly difference: number
  readonly delta: number
  /** Two buffers of GROUP contributions, each with its scales and weight for the kernel. */
  readonly groups: readonly GroupLayout[]
  /** A seal's state for each thread. */
  readonly seals: number
  readonly bytes: number
}

export interface GroupLayout {
  readonly data: number
  readonly scales: number
  readonly weights: number
}

export const dataStride = (codec: CodecName): number => aligned(CODECS[codec].byteLength(SLICE))
/** Two f32 a block. */
export const SCALE_STRIDE = (SLICE / KERNEL_BLOCK) * 8

export function layoutOf(codec: CodecName, downlink: CodecName): Layout {
  let bytes = 0
  const take = (size: number) => {
    const address = bytes
    bytes += aligned(size)
    return address
  }
  const floats = () => take(4 * SLICE)
  const group = () => ({
    data: take(GROUP * dataStride(codec)),
    scales: take(GROUP * SCALE_STRIDE),
    weights: take(GROUP * 8),
  })
  const layout = {
    weights: floats(),
    exact: floats(),
    velocity: floats(),
    sum: take(8 * SLICE),
    newWeights: floats(),
    newExact: floats(),
    newVelocity: floats(),
    difference: floats(),
    delta: take(CODECS[downlink].byteLength(SLICE)),
    groups: [group(), group()],
    seals: take(MOST_THREADS * SEAL_BYTES),
  }
  return { ...layout, bytes }
}

export function sharedMemory({ bytes }: Pick<Layout, 'bytes'>): WebAssembly.Memory {
  const pages = Math.ceil(bytes / PAGE)
  return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true })
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT
}
