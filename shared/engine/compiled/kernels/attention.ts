/**
 * Causal softmax attention, forward and backward, without a [T, T] matrix anywhere: one thread has one query (or, for
 * the gradients of keys and values, one key) in registers and walks over the others. Scores are made again in the
 * backward pass from the logarithm of each query's sum. No atomics: every sum has one thread and one order.
 *
 * q, k, v: [N, d], heads side by side in a row; scale 1/√D. Neighbouring threads have neighbouring queries of one head,
 * so that all of them read the same keys at the same time.
 */
import { elementwise, type Kernel, repeat } from '../kernel.ts'

export interface AttentionShape {
  /** B */
  readonly sequences: number
  /** T */
  readonly length: number
  readonly heads: number
  readonly headDim: number
  /** Keys (or queries) taken at once: their scores share one maximum. */
  readonly atOnce: number
}

/** A score that softmax makes zero, without the infinity that subtracts to no number. */
const NEVER = '-1e30'

/** Vectors of four that one head's row takes; the last is filled up with zeros. */
const vectors = ({ headDim }: AttentionShape) => Math.ceil(headDim / 4)

/** Text that loads and stores rows of one head, in vectors of four where the width allows it. */
function rowsOf(shape: AttentionShape) {
  const { headDim } = shape
  const whole = headDim % 4 === 0
  const left = (part: number) => Math.min(4, headDim - 4 * part)
  const load = (buffer: string, at: string, part: number) => {
    if (whole) return `${buffer}[${at} + ${part}u]`
    const elements = [0, 1, 2, 3].map((e) => (e < left(part) ? `${buffer}[${at} + ${4 * part + e}u]` : '0.0'))
    return `vec4<f32>(${elements.join(', ')})`
  }
  const store = (buffer: string, at: string, part: number, value: string) => {
    if (whole) return `${buffer}[${at} + ${part}u] = ${value};`
    return repeat(
      left(part),
      (e) => `${buffer}[${at} + ${4 * part + e}u] = ${value}${['.x', '.y', '.z', '.w'][e]};`,
      ' ',
    )
  }
  return { type: whole ? 'vec4<f32>' : 'f32', unit: whole ? 4 : 1, load, store }
}

/** What every thread begins with: `t` in the sequence `b`, head `h`; `mine` is where its row of the head begins. */
function place(shape: AttentionShape, unit: number): string {
  const { length, heads, headDim } = shape
  const [row, head] = [(heads * headDim) / unit, headDim / unit]
  return /* wgsl */ `
  let t = i % ${length}u;
  let h = i / ${length}u % ${heads}u;
  let first = i / ${length * heads}u * ${length}u;
  let base = first * ${row}u + h * ${head}u;
  let mine = base + t * ${row}u;`
}

const each = (shape: AttentionShape, text: (part: number) => string) =>
  `  ${repeat(vectors(shape), text, '\n  ')}\n`

/** The product of two rows in registers or memory, part by part. */
const product = (shape: AttentionShape, a: (part: number) => string, b: (part: number) => string) =>
  repeat(vectors(shape), (part) => `dot(${a(part)}, ${b(part)})`, ' + ')

/** Queries times keys that see each other, B·H of them. */
const pairs = ({ sequences, heads, length }: AttentionShape) =>
  (sequences * heads * length * (length + 1)) / 2

/** → merged: [N, d], sums: log Σ e^score of each query, [B, H, T] */
export function attention(shape: AttentionShape): Kernel {
  const { sequences, length, heads, headDim, atOnce } = shape
  const { type, unit, load, store } = rowsOf(shape)
  const row = (heads * headDim) / unit
  const score = (key: number) =>
    `select(${NEVER}, ${product(
      shape,
      (part) => `q${part}`,
      (part) => load('k', `at${key}`, part),
    )}, s + ${key}u <= t)`
  return elementwise({
    kind: 'attention',
    buffers: {
      q: `read ${type}`,
      k: `read ${type}`,
      v: `read ${type}`,
      merged: `write ${type}`,
      sums: 'write f32',
    },
    count: sequences * length * heads,
    flops: 4 * headDim * pairs(shape),
    body: /* wgsl */ `${place(shape, unit)}
${each(shape, (part) => `let q${part} = ${1 / Math.sqrt(headDim)} * ${load('q', 'mine', part)}; var o${part} = vec4<f32>();`)}
  var largest = ${NEVER};
  var sum = 0.0;
  for (var s = 0u; s <= t; s += ${atOnce}u) {
    ${repeat(atOnce, (key) => `let at${key} = base + min(s + ${key}u, t) * ${row}u;`)}
    ${repeat(atOnce, (key) => `let score${key} = ${score(key)};`)}
    let before = largest;
    ${repeat(atOnce, (key) => `largest = max(largest, score${key});`)}
    let shrink = exp(before - largest);
    ${repeat(atOnce, (key) => `let p${key} = exp(score${key} - largest);`)}
    sum = sum * shrink + ${repeat(atOnce, (key) => `p${key}`, ' + ')};
  ${each(shape, (part) => `o${part} = o${part} * shrink + ${repeat(atOnce, (key) => `p${key} * ${load('v', `at${key}`, part)}`, ' + ')};`)}
  }
${each(shape, (part) => store('merged', 'mine', part, `(o${part} / sum)`))}
  sums[i] = largest + log(sum);`,
  })
}

/** → dq: [N, d], and along: Σ dMerged·merged of each query, [B, H, T] */
export function attentionBackwardQueries(shape: AttentionShape): Kernel {
  const { sequences, length, heads, headDim, atOnce } = shape
  const { type, unit, load, store } = rowsOf(shape)
  const row = (heads * headDim) / unit
  const scale = 1 / Math.sqrt(headDim)
  const slope = (key: number) => /* wgsl */ `
    let at${key} = base + min(s + ${key}u, t) * ${row}u;
    let p${key} = exp(${product(
      shape,
      (part) => `q${part}`,
      (part) => load('k', `at${key}`, part),
    )} - logSum);
    let ds${key} = select(0.0, p${key} * (${product(
      shape,
      (part) => `d${part}`,
      (part) => load('v', `at${key}`, part),
    )} - mean), s + ${key}u <= t);`
  return elementwise({
    kind: 'attention backward, queries',
    buffers: {
      q: `read ${type}`,
      k: `read ${type}`,
      v: `read ${type}`,
      merged: `read ${type}`,
      dMerged: `read ${type}`,
      sums: 'read f32',
      along: 'write f32',
      dq: `write ${type}`,
    },
    count: sequences * length * heads,
    flops: 6 * headDim * pairs(shape),
    body: /* wgsl */ `${place(shape, unit)}
${each(shape, (part) => `let q${part} = ${scale} * ${load('q', 'mine', part)}; let d${part} = ${load('dMerged', 'mine', part)}; var dq${part} = vec4<f32>();`)}
  let mean = ${product(
    shape,
    (part) => `d${part}`,
    (part) => load('merged', 'mine', part),
  )};
  let logSum = sums[i];
  along[i] = mean;
  for (var s = 0u; s <= t; s += ${atOnce}u) {
    ${repeat(atOnce, slope)}
  ${each(shape, (part) => `dq${part} += ${repeat(atOnce, (key) => `ds${key} * ${load('k', `at${key}`, part)}`, ' + ')};`)}
  }
${each(shape, (part) => store('dq', 'mine', part, `(${scale} * dq${part})`))}`,
  })
}

/** → dk, dv: [N, d] each. `t` is a key here, and `s` walks over the queries that see it. */
export function attentionBackwardKeys(shape: AttentionShape): Kernel {
  const { sequences, length, heads, headDim, atOnce } = shape
  const { type, unit, load, store } = rowsOf(shape)
  const row = (heads * headDim) / unit
  const last = `${length - 1}u`
  const slope = (query: number) => /* wgsl */ `
    let s${query} = min(s + ${query}u, ${last});
    let at${query} = base + s${query} * ${row}u;
    let p${query} = select(0.0, exp(${product(
      shape,
      (part) => `k${part}`,
      (part) => load('q', `at${query}`, part),
    )} - sums[i - t + s${query}]), s + ${query}u <= ${last});
    let ds${query} = p${query} * (${product(
      shape,
      (part) => `v${part}`,
      (part) => load('dMerged', `at${query}`, part),
    )} - along[i - t + s${query}]);`
  return elementwise({
    kind: 'attention backward, keys and values',
    buffers: {
      q: `read ${type}`,
      k: `read ${type}`,
      v: `read ${type}`,
      dMerged: `read ${type}`,
      sums: 'read f32',
      along: 'read f32',
      dk: `write ${type}`,
      dv: `write ${type}`,
    },
    count: sequences * length * heads,
    flops: 8 * headDim * pairs(shape),
    body: /* wgsl */ `${place(shape, unit)}
${each(shape, (part) => `let k${part} = ${1 / Math.sqrt(headDim)} * ${load('k', 'mine', part)}; let v${part} = ${load('v', 'mine', part)}; var dk${part} = vec4<f32>(); var dv${part} = vec4<f32>();`)}
  for (var s = t; s < ${length}u; s += ${atOnce}u) {
    ${repeat(atOnce, slope)}
  ${each(
    shape,
    (part) =>
      `dk${part} += ${repeat(atOnce, (query) => `ds${query} * ${load('q', `at${query}`, part)}`, ' + ')};
    dv${part} += ${repeat(atOnce, (query) => `p${query} * ${load('dMerged', `at${query}`, part)}`, ' + ')};`,
  )}
  }
${each(shape, (part) => `${store('dk', 'mine', part, `(${1 / Math.sqrt(headDim)} * dk${part})`)} ${store('dv', 'mine', part, `dv${part}`)}`)}`,
  })
}
