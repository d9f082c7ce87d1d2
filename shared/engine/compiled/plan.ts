/**
 * A plan: an ordered list of kernels over tensors whose places in memory are settled beforehand. Made once for a model, a
 * micro-batch and a device, then only replayed. This file knows no model (step.ts) and no GPU (executor.ts).
 */
import { type Access, bytesOf, type Element, type Kernel } from './kernel.ts'

/** Compared by identity. */
export interface Tensor {
  readonly name: string
  /** Elements. */
  readonly size: number
  readonly element: Element
  /** Scratch tensors live from their first use in a plan to their last and share memory; others have a buffer each. */
  readonly scratch: boolean
}

/** A part of a tensor, in elements; it begins where a binding may. */
export interface View {
  readonly tensor: Tensor
  readonly offset: number
  readonly size: number
}

/** WebGPU binds buffers from multiples of so many bytes. */
const ALIGNMENT = 256

/** Elements that fill it, of two bytes; of four there are enough in half of it. */
const ALIGNED_ELEMENTS = ALIGNMENT / 2

/** So many elements of any kind that a binding may begin behind them. */
export const aligned = (size: number) => Math.ceil(size / ALIGNED_ELEMENTS) * ALIGNED_ELEMENTS

/** Of a whole tensor, or of a part. */
export function bytesIn(of: Tensor | View): number {
  return of.size * bytesOf('tensor' in of ? of.tensor.element : of.element)
}

/** One dispatch. */
export interface Call {
  /** What it computes, e.g. `layer 3: queries, keys, values`. */
  readonly label: string
  readonly kernel: Kernel
  /** For each binding of the kernel. */
  readonly views: readonly View[]
}

/** Stages are run in order; `pass` once for every micro-batch. */
export interface Plan {
  /** Set to zero when a step begins. */
  readonly cleared: readonly Tensor[]
  readonly pass: readonly Call[]
  readonly update: readonly Call[]
}

export const tensor = (name: string, size: number): Tensor => ({
  ...{ name, size },
  element: 'f32',
  scratch: false,
})
export const scratch = (name: string, size: number, element: Element = 'f32'): Tensor => ({
  name,
  size: aligned(size),
  element,
  scratch: true,
})

export function view(tensor: Tensor, offset = 0, size = tensor.size - offset): View {
  if ((offset * bytesOf(tensor.element)) % ALIGNMENT !== 0 || offset + size > tensor.size)
    throw new Error(`internal: ${offset} + ${size} is no view of ${tensor.name} with ${tensor.size}`)
  return { tensor, offset, size }
}

const whole = (of: Tensor | View): View => ('tensor' in of ? of : view(of))

/** Where calls are written down. */
export function makeList() {
  const calls: Call[] = []
  return {
    calls,
    run(label: string, kernel: Kernel, ...of: (Tensor | View)[]): void {
      if (of.length !== kernel.access.length)
        throw new Error(`internal: ${label} binds ${of.length} of ${kernel.access.length}`)
      calls.push({ label, kernel, views: of.map(whole) })
    },
  }
}

export type List = ReturnType<typeof makeList>

/** The calls without those whose results nobody reads: all they write are scratch tensors that no later call uses. */
export function withoutUnread(calls: readonly Call[]): Call[] {
  const wanted = new Set<Tensor>()
  const kept: Call[] = []
  for (const call of [...calls].reverse()) {
    const { access } = call.kernel
    const written = call.views.filter((_, i) => access[i] === 'write' || access[i] === 'update')
    if (written.every(({ tensor }) => tensor.scratch && !wanted.has(tensor))) continue
    for (const { tensor } of call.views) wanted.add(tensor)
    kept.push(call)
  }
  return kept.reverse()
}

/** Scratch tensors in buffers that they share. */
export interface Placement {
  /** Bytes of each buffer. */
  readonly buffers: readonly number[]
  /** Index of the buffer a tensor begins at offset 0 of. */
  readonly of: ReadonlyMap<Tensor, number>
}

interface Life {
  readonly tensor: Tensor
  first: number
  last: number
}

/** From the largest tensor to the smallest, each into the first buffer whose tenants are all dead or unborn meanwhile. */
export function place(plan: Plan): Placement {
  const buffers: { size: number; tenants: Life[] }[] = []
  const of = new Map<Tensor, number>()
  const lives = [...livesOf([...plan.pass, ...plan.update]).values()]
  const bytes = ({ tensor }: Life) => bytesIn(tensor)
  for (const life of lives.sort((a, b) => bytes(b) - bytes(a) || a.first - b.first)) {
    const free = buffers.findIndex(({ tenants }) =>
      tenants.every(({ first, last }) => last < life.first || life.last < first),
    )
    const index = free < 0 ? buffers.push({ size: bytes(life), tenants: [] }) - 1 : free
    buffers[index]?.tenants.push(life)
    of.set(life.tensor, index)
  }
  return { buffers: buffers.map(({ size }) => size), of }
}

function livesOf(calls: readonly Call[]): Map<Tensor, Life> {
  const lives = new Map<Tensor, Life>()
  for (const [at, { views }] of calls.entries()) {
    for (const { tensor } of views) {
      if (!tensor.scratch) continue
      const life = lives.get(tensor)
      if (life) life.last = at
      else lives.set(tensor, { tensor, first: at, last: at })
    }
  }
  return lives
}

/** All tensors of a plan that have a buffer of their own. */
export function keptTensors(plan: Plan): Set<Tensor> {
  const all = [...plan.pass, ...plan.update].flatMap(({ views }) => views.map(({ tensor }) => tensor))
  return new Set([...plan.cleared, ...all].filter(({ scratch }) => !scratch))
}

/** Bytes that a call must move if it reads and writes everything once: what a roofline counts. */
export function bytesMoved({ kernel, views }: Call): number {
  const times: Record<Access, number> = { read: 1, write: 1, update: 2, uniform: 0 }
  const bytes = (view: View, i: number) => bytesIn(view) * times[kernel.access[i] as Access] // as many as views
  return kernel.share * views.reduce((sum, view, i) => sum + bytes(view, i), 0)
}
