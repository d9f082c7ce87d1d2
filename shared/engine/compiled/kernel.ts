/**
 * One compute shader with all that is known of it beforehand: what it binds, how many workgroups it takes, how much
 * arithmetic it is. A kernel is text and numbers; plan.ts says on which tensors it runs, executor.ts runs it.
 *
 * Shapes are baked into the text, so that the driver's compiler sees constants, or given beside it as constants of the
 * call, so that many calls share one text. Equal texts share one pipeline.
 */
import { EngineError } from '../engine.ts'

/** What a kernel does with a buffer. `update` reads and writes it. */
export type Access = 'read' | 'write' | 'update' | 'uniform'

/** Workgroups in x, y, z. */
export type Groups = readonly [number, number, number]

export interface Kernel {
  /** What reports add up by, e.g. `matmul NT`. */
  readonly kind: string
  /** WGSL; the entry point is `main`. */
  readonly code: string
  /** Of bindings 0, 1, 2, … of group 0. */
  readonly access: readonly Access[]
  readonly groups: Groups
  /** Bound after the buffers as `sizes`; empty when the text needs none. */
  readonly constants: readonly number[]
  /** Floating-point operations, those at the edges of tiles not counted. */
  readonly flops: number
  /** Of the whole's work: below 1 for a part. */
  readonly share: number
  /** A box of its workgroups alone, which compute the same as in the whole; `first` is the corner. */
  part(first: Groups, groups: Groups): Kernel
}

export interface KernelText {
  readonly kind: string
  /** Name → access and element type, in the order of the bindings: `{ x: 'read f32', y: 'write vec4<f32>' }`. */
  readonly buffers: Record<string, string>
  /** Threads of a workgroup in x and y. */
  readonly threads: readonly [number, number]
  readonly groups: Groups
  /** Whole numbers by name, which the text knows as `sizes.name`. */
  readonly constants?: Record<string, number>
  /** Whether it uses subgroup operations; `subgroupSize` is theirs. */
  readonly subgroups?: boolean
  /** Declarations before `main`. */
  readonly head?: string
  /** Of `main`, which knows `group` and `local`, both vec3<u32>. */
  readonly body: string
  readonly flops?: number
}

/** No dimension of a dispatch may be larger; WebGPU promises no more on any device. */
export const MOST_GROUPS = 65_535

/** Threads of a workgroup whose threads do not know one another. */
export const THREADS = 64

export function kernel(text: KernelText): Kernel {
  const { kind, buffers, groups, constants = {}, flops = 0 } = text
  const accesses = Object.values(buffers).map(accessOf)
  const most = Math.max(...groups)
  if (most > MOST_GROUPS) throw tooLarge(`${kind} takes ${most} workgroups, and a GPU has ${MOST_GROUPS}`)
  const [code, values] = [codeOf(text), Object.values(constants)]
  const count = ([x, y, z]: Groups) => x * y * z
  return {
    ...{ kind, code, access: accesses, groups, flops },
    constants: values,
    share: 1,
    part(first, box) {
      const share = count(box) / count(groups)
      const partial = { kind, access: accesses, groups: box, share, flops: share * flops, part: refusePart }
      return { ...partial, code: codeOf(text, true), constants: [...values, ...first] }
    },
  }
}

const refusePart = () => {
  throw new Error('internal: a part of a part of a kernel')
}

// Written in this folder only, and every pipeline is compiled in tests.
const accessOf = (spec: string) => spec.split(' ')[0] as Access

/** In a part, workgroups count from a corner that is given beside the text. */
function codeOf(
  { buffers, threads, constants = {}, head = '', body, subgroups = false }: KernelText,
  isPart = false,
): string {
  const bindings = Object.entries(buffers)
  const names = [...Object.keys(constants), ...(isPart ? ['fromX', 'fromY', 'fromZ'] : [])]
  const corner = isPart ? ' + vec3<u32>(sizes.fromX, sizes.fromY, sizes.fromZ)' : ''
  const text = `${head}${body}`
  const stores = Object.keys(STORES).filter((name) => text.includes(`${name}(`))
  const halves = bindings.some(([, spec]) => spec.includes('f16'))
  const size = '@builtin(subgroup_size) size: u32'
  return /* wgsl */ `${halves ? 'enable f16;\n' : ''}${subgroups ? 'enable subgroups;\n' : ''}${bindings.map(declaration).join('\n')}
${sizesText(names, bindings.length)}
${stores.map((name) => STORES[name]).join('\n')}
${subgroups ? 'var<private> subgroupSize: u32;' : ''}
${head}
@compute @workgroup_size(${threads[0]}, ${threads[1]})
fn main(@builtin(workgroup_id) dispatched: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>${subgroups ? `, ${size}` : ''}) {
${subgroups ? '  subgroupSize = size;' : ''}
  let group = dispatched${corner};
${body}
}`
}

/** What only a smaller micro-batch cures. */
export const tooLarge = (what: string) =>
  new EngineError('engine/bad-job', `${what}. Compute fewer sequences at once.`)

function declaration([name, spec]: readonly [string, string], at: number) {
  const [access, type] = [accessOf(spec), spec.split(' ')[1]]
  const place = `@group(0) @binding(${at})`
  if (access === 'uniform') return `${place} var<uniform> ${name}: ${type};`
  return `${place} var<storage, ${access === 'read' ? 'read' : 'read_write'}> ${name}: array<${type}>;`
}

function sizesText(names: readonly string[], binding: number): string {
  if (names.length === 0) return ''
  return `struct Sizes { ${names.map((name) => `${name}: u32`).join(', ')} }
@group(0) @binding(${binding}) var<uniform> sizes: Sizes;`
}

/** A kernel in which each thread has one index `i` below `count`, in as many dimensions as it takes. */
export function elementwise(
  text: Omit<KernelText, 'threads' | 'groups'> & { readonly count: number },
): Kernel {
  const { count, body, ...rest } = text
  const groups = spread(Math.ceil(count / THREADS))
  const guarded = `  let i = (group.y * ${groups[0]}u + group.x) * ${THREADS}u + local.x;
  if (i >= ${count}u) { return; }
${body}`
  return kernel({ ...rest, threads: [THREADS, 1], groups, body: guarded })
}

/** So many workgroups in a rectangle that no dimension of is too large; its last row may be a bit too long. */
export function spread(count: number): Groups {
  const rows = Math.ceil(count / MOST_GROUPS)
  return [Math.ceil(count / rows), rows, 1]
}

/**
 * What a tensor's elements are in memory; kernels compute in f32. `rounded`: f32 that holds what f16 can hold, so that a
 * device without f16 gives the numbers that one with it would, and tests run anywhere.
 */
export type Element = 'f32' | 'f16' | 'rounded'

export const bytesOf = (element: Element) => (element === 'f16' ? 2 : 4)

/** WGSL of elements in memory, and between there and f32. `count`: 1, or 4 for a vector. */
export function access(element: Element, count: 1 | 4) {
  const of = (type: string) => (count === 4 ? `vec4<${type}>` : type)
  return {
    type: of(element === 'f16' ? 'f16' : 'f32'),
    load: (value: string) => (element === 'f16' ? `${of('f32')}(${value})` : value),
    store: (value: string) => (element === 'f32' ? value : `${element}_${count}(${value})`),
  }
}

/** The largest number of f16: what is larger is stored as that, because an infinity becomes no number in the next sum. */
const LARGEST_F16 = 65_504

const clampedTo = (type: string) => `clamp(value, ${type}(-${LARGEST_F16}.0), ${type}(${LARGEST_F16}.0))`

const STORES: Record<string, string> = {
  f16_4: `fn f16_4(value: vec4<f32>) -> vec4<f16> { return vec4<f16>(${clampedTo('vec4<f32>')}); }`,
  f16_1: `fn f16_1(value: f32) -> f16 { return f16(${clampedTo('f32')}); }`,
  rounded_4: `fn rounded_4(value: vec4<f32>) -> vec4<f32> { return quantizeToF16(${clampedTo('vec4<f32>')}); }`,
  rounded_1: `fn rounded_1(value: f32) -> f32 { return quantizeToF16(${clampedTo('f32')}); }`,
}

/** How wide the loads are that a row of `width` elements allows: four elements, or one. */
export interface Lanes {
  readonly width: 4 | 1
  /** The WGSL type of one load. */
  readonly type: string
  /** And of it in f32. */
  readonly single: string
  /** f32 of what is in memory, and back. */
  load(value: string): string
  store(value: string): string
  /** The sum of a load's elements, in f32, and the largest of them. */
  total(value: string): string
  largest(value: string): string
}

export function lanesOf(width: number, element: Element = 'f32'): Lanes {
  const same = (value: string) => value
  if (width % 4 !== 0) return { width: 1, single: 'f32', ...access(element, 1), total: same, largest: same }
  const total = (value: string) => `dot(${value}, vec4<f32>(1.0))`
  const largest = (value: string) => `max(max(${value}.x, ${value}.y), max(${value}.z, ${value}.w))`
  return { width: 4, single: 'vec4<f32>', ...access(element, 4), total, largest }
}

/** `text` for 0, 1, 2, … below `count`, one after another. */
export function repeat(count: number, text: (index: number) => string, separator = '\n'): string {
  return Array.from({ length: count }, (_, index) => text(index)).join(separator)
}
