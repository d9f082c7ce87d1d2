/** What the two ways of attention share: the shape, and how rows of one head are read and written. */
import { access, type Element, repeat } from '../kernel.ts'

export interface AttentionShape {
  /** B */
  readonly sequences: number
  /** T */
  readonly length: number
  readonly heads: number
  readonly headDim: number
  /** Rows that a thread has: more of them share what is read, and take registers. */
  readonly rows: number
  /** Keys (or queries) taken at once: their scores share one maximum. */
  readonly atOnce: number
  /** Of all but the sums and `along`. */
  readonly element?: Element
  /** Whether workgroups bring tiles to shared memory (attentionTiles.ts); rows and atOnce do not matter then. */
  readonly tiled?: boolean
}

/** A score that softmax makes zero, without the infinity that subtracts to no number. */
export const NEVER = '-1e30'

/** Vectors of four that one head's row takes; the last is filled up with zeros. */
export const vectors = ({ headDim }: AttentionShape) => Math.ceil(headDim / 4)

/** Text that loads and stores rows of one head, in vectors of four where the width allows it. */
export function accessOf(shape: AttentionShape) {
  const { headDim, heads, element = 'f32' } = shape
  const whole = headDim % 4 === 0
  const memory = access(element, whole ? 4 : 1)
  const left = (part: number) => Math.min(4, headDim - 4 * part)
  const load = (buffer: string, at: string, part: number) => {
    if (whole) return memory.load(`${buffer}[${at} + ${part}u]`)
    const elements = [0, 1, 2, 3].map((e) =>
      e < left(part) ? memory.load(`${buffer}[${at} + ${4 * part + e}u]`) : '0.0',
    )
    return `vec4<f32>(${elements.join(', ')})`
  }
  const store = (buffer: string, at: string, part: number, value: string) => {
    if (whole) return `${buffer}[${at} + ${part}u] = ${memory.store(value)};`
    return repeat(
      left(part),
      (e) =>
        `${buffer}[${at} + ${4 * part + e}u] = ${memory.store(`${value}${['.x', '.y', '.z', '.w'][e]}`)};`,
      ' ',
    )
  }
  /** The same of a part known only on the device. */
  const loadPart = (buffer: string, at: string, part: string) => {
    if (whole) return memory.load(`${buffer}[${at} + ${part}]`)
    const elements = [0, 1, 2, 3].map((e) => {
      const index = `4u * ${part} + ${e}u`
      const value = memory.load(`${buffer}[${at} + min(${index}, ${headDim - 1}u)]`)
      return `select(0.0, ${value}, ${index} < ${headDim}u)`
    })
    return `vec4<f32>(${elements.join(', ')})`
  }
  const storePart = (buffer: string, at: string, part: string, value: string) => {
    if (whole) return `${buffer}[${at} + ${part}] = ${memory.store(value)};`
    return repeat(4, (e) => {
      const index = `4u * ${part} + ${e}u`
      return `if (${index} < ${headDim}u) { ${buffer}[${at} + ${index}] = ${memory.store(`(${value})[${e}]`)}; }`
    })
  }
  const unit = whole ? 4 : 1
  return {
    type: memory.type,
    row: (heads * headDim) / unit,
    head: headDim / unit,
    load,
    store,
    loadPart,
    storePart,
  }
}

/** Queries times keys that see each other, B·H of them. */
export const pairs = ({ sequences, heads, length }: AttentionShape) =>
  (sequences * heads * length * (length + 1)) / 2

export const scaleOf = ({ headDim }: AttentionShape) => 1 / Math.sqrt(headDim)
