/**
 * Causal softmax attention, forward and backward, without a [T, T] matrix anywhere: one thread has a few queries (or, for
 * the gradients of keys and values, a few keys) in registers and walks over the others. Scores are made again in the
 * backward pass from the logarithm of each query's sum. No atomics: every sum has one thread and one order. This is the
 * way without barriers; GPUs, whose registers do not hold whole rows, go by attentionTiles.ts.
 *
 * q, k, v: [N, d], heads side by side in a row; scale 1/√D. Neighbouring threads have neighbouring queries of one head,
 * so that all of them read the same keys at the same time. In the texts, `r` counts a thread's own rows and `o` those
 * that it walks over.
 */
import { elementwise, type Kernel, repeat } from '../kernel.ts'
import { type AttentionShape, accessOf, NEVER, pairs, scaleOf, vectors } from './attentionShape.ts'
import * as tiles from './attentionTiles.ts'

/** Threads for one head: each has `rows` rows. */
const groupsOf = ({ length, rows }: AttentionShape) => Math.ceil(length / rows)

const threads = (shape: AttentionShape) => shape.sequences * shape.heads * groupsOf(shape)

/**
 * What every thread begins with: its rows t0, t1, … of head `h` in one sequence, where they lie (mine0, …), and where the
 * head's numbers of one each begin (`single`). A row beyond the last is the last one again, and is not stored.
 */
function place(shape: AttentionShape): string {
  const { length, heads, rows } = shape
  const { row, head } = accessOf(shape)
  const groups = groupsOf(shape)
  return /* wgsl */ `
  let t0 = i % ${groups}u * ${rows}u;
  let h = i / ${groups}u % ${heads}u;
  let sequence = i / ${groups * heads}u;
  let base = sequence * ${length * row}u + h * ${head}u;
  let single = (sequence * ${heads}u + h) * ${length}u;
${repeat(rows - 1, (r) => `  let t${r + 1} = min(t0 + ${r + 1}u, ${length - 1}u);`)}
${repeat(rows, (r) => `  let mine${r} = base + t${r} * ${row}u;`)}`
}

/** `text` for every row of the thread and every part of it. */
const eachPart = (shape: AttentionShape, text: (r: number, part: number) => string) =>
  repeat(shape.rows, (r) => `  ${repeat(vectors(shape), (part) => text(r, part), '\n  ')}`)

/** The stores of a thread's rows. */
const stores = (shape: AttentionShape, text: (r: number) => string) =>
  repeat(shape.rows, (r) => {
    const guarded = r > 0 && shape.length % shape.rows !== 0
    return guarded ? `  if (t0 + ${r}u < ${shape.length}u) {\n${text(r)}\n  }` : text(r)
  })

/** The product of two rows, part by part. */
const product = (shape: AttentionShape, a: (part: number) => string, b: (part: number) => string) =>
  repeat(vectors(shape), (part) => `dot(${a(part)}, ${b(part)})`, ' + ')

/** `text` for each of the rows that are walked over at once, and each of the thread's own. */
const eachPair = ({ atOnce, rows }: AttentionShape, text: (o: number, r: number) => string) =>
  repeat(atOnce, (o) => repeat(rows, (r) => `    ${text(o, r)}`))

/** → merged: [N, d], sums: log Σ e^score of each query, [B, H, T] */
export function attention(shape: AttentionShape): Kernel {
  if (tiles.fits(shape)) return tiles.attention(shape)
  const { headDim, rows, atOnce } = shape
  const { type, row, load, store } = accessOf(shape)
  const last = `t${rows - 1}`
  const sumOver = (text: (o: number) => string) => repeat(atOnce, text, ' + ')
  return elementwise({
    kind: 'attention',
    buffers: {
      q: `read ${type}`,
      k: `read ${type}`,
      v: `read ${type}`,
      merged: `write ${type}`,
      sums: 'write f32',
    },
    count: threads(shape),
    flops: 4 * headDim * pairs(shape),
    body: /* wgsl */ `${place(shape)}
${eachPart(shape, (r, part) => `let q${r}_${part} = ${scaleOf(shape)} * ${load('q', `mine${r}`, part)}; var out${r}_${part} = vec4<f32>();`)}
${repeat(rows, (r) => `  var largest${r} = ${NEVER}; var sum${r} = 0.0;`)}
  for (var s = 0u; s <= ${last}; s += ${atOnce}u) {
${repeat(atOnce, (o) => `    let at${o} = base + min(s + ${o}u, ${last}) * ${row}u;`)}
${repeat(atOnce, (o) => repeat(vectors(shape), (part) => `    let k${o}_${part} = ${load('k', `at${o}`, part)};`))}
${eachPair(
  shape,
  (o, r) =>
    `let score${r}_${o} = select(${NEVER}, ${product(
      shape,
      (part) => `q${r}_${part}`,
      (part) => `k${o}_${part}`,
    )}, s + ${o}u <= t${r});`,
)}
${repeat(rows, (r) => `    let before${r} = largest${r};`)}
${eachPair(shape, (o, r) => `largest${r} = max(largest${r}, score${r}_${o});`)}
${repeat(rows, (r) => `    let shrink${r} = exp(before${r} - largest${r});`)}
${eachPair(shape, (o, r) => `let p${r}_${o} = exp(score${r}_${o} - largest${r});`)}
${repeat(rows, (r) => `    sum${r} = sum${r} * shrink${r} + ${sumOver((o) => `p${r}_${o}`)};`)}
${repeat(
  vectors(shape),
  (part) => `${repeat(atOnce, (o) => `    let v${o}_${part} = ${load('v', `at${o}`, part)};`)}
${repeat(rows, (r) => `    out${r}_${part} = out${r}_${part} * shrink${r} + ${sumOver((o) => `p${r}_${o} * v${o}_${part}`)};`)}`,
)}
  }
${stores(
  shape,
  (
    r,
  ) => `${repeat(vectors(shape), (part) => `  ${store('merged', `mine${r}`, part, `(out${r}_${part} / sum${r})`)}`)}
  sums[single + t${r}] = largest${r} + log(sum${r});`,
)}`,
  })
}

/** → along: Σ dMerged·merged of each query, [B, H, T], and dq: [N, d] */
export function attentionBackwardQueries(shape: AttentionShape): Kernel {
  if (tiles.fits(shape)) return tiles.attentionBackwardQueries(shape)
  const { headDim, rows, atOnce } = shape
  const { type, row, load, store } = accessOf(shape)
  const last = `t${rows - 1}`
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
    count: threads(shape),
    flops: 6 * headDim * pairs(shape),
    body: /* wgsl */ `${place(shape)}
${eachPart(shape, (r, part) => `let q${r}_${part} = ${scaleOf(shape)} * ${load('q', `mine${r}`, part)}; let d${r}_${part} = ${load('dMerged', `mine${r}`, part)}; var dq${r}_${part} = vec4<f32>();`)}
${repeat(
  rows,
  (r) => `  let logSum${r} = sums[single + t${r}];
  let mean${r} = ${product(
    shape,
    (part) => `d${r}_${part}`,
    (part) => load('merged', `mine${r}`, part),
  )};`,
)}
  for (var s = 0u; s <= ${last}; s += ${atOnce}u) {
${repeat(atOnce, (o) => `    let at${o} = base + min(s + ${o}u, ${last}) * ${row}u;`)}
${repeat(atOnce, (o) => repeat(vectors(shape), (part) => `    let k${o}_${part} = ${load('k', `at${o}`, part)}; let v${o}_${part} = ${load('v', `at${o}`, part)};`))}
${eachPair(
  shape,
  (o, r) =>
    `let ds${r}_${o} = select(0.0, exp(${product(
      shape,
      (part) => `q${r}_${part}`,
      (part) => `k${o}_${part}`,
    )} - logSum${r}) * (${product(
      shape,
      (part) => `d${r}_${part}`,
      (part) => `v${o}_${part}`,
    )} - mean${r}), s + ${o}u <= t${r});`,
)}
${eachPart(shape, (r, part) => `  dq${r}_${part} += ${repeat(atOnce, (o) => `ds${r}_${o} * k${o}_${part}`, ' + ')};`)}
  }
${stores(
  shape,
  (
    r,
  ) => `${repeat(vectors(shape), (part) => `  ${store('dq', `mine${r}`, part, `(${scaleOf(shape)} * dq${r}_${part})`)}`)}
  along[single + t${r}] = mean${r};`,
)}`,
  })
}

/** → dk, dv: [N, d] each. The thread's rows are keys here, and it walks over the queries that see them. */
export function attentionBackwardKeys(shape: AttentionShape): Kernel {
  if (tiles.fits(shape)) return tiles.attentionBackwardKeys(shape)
  const { length, headDim, atOnce } = shape
  const { type, row, load, store } = accessOf(shape)
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
    count: threads(shape),
    flops: 8 * headDim * pairs(shape),
    body: /* wgsl */ `${place(shape)}
${eachPart(shape, (r, part) => `let k${r}_${part} = ${scaleOf(shape)} * ${load('k', `mine${r}`, part)}; let v${r}_${part} = ${load('v', `mine${r}`, part)}; var dk${r}_${part} = vec4<f32>(); var dv${r}_${part} = vec4<f32>();`)}
  for (var s = t0; s < ${length}u; s += ${atOnce}u) {
${repeat(
  atOnce,
  (o) => `    let s${o} = min(s + ${o}u, ${length - 1}u);
    let at${o} = base + s${o} * ${row}u;
    let logSum${o} = sums[single + s${o}];
    let mean${o} = along[single + s${o}];`,
)}
${repeat(atOnce, (o) => repeat(vectors(shape), (part) => `    let q${o}_${part} = ${load('q', `at${o}`, part)}; let d${o}_${part} = ${load('dMerged', `at${o}`, part)};`))}
${eachPair(
  shape,
  (o, r) => `let p${r}_${o} = select(0.0, exp(${product(
    shape,
    (part) => `k${r}_${part}`,
    (part) => `q${o}_${part}`,
  )} - logSum${o}), s + ${o}u < ${length}u && t${r} <= s + ${o}u);
    let ds${r}_${o} = p${r}_${o} * (${product(
      shape,
      (part) => `v${r}_${part}`,
      (part) => `d${o}_${part}`,
    )} - mean${o});`,
)}
${eachPart(
  shape,
  (r, part) => `  dk${r}_${part} += ${repeat(atOnce, (o) => `ds${r}_${o} * q${o}_${part}`, ' + ')};
    dv${r}_${part} += ${repeat(atOnce, (o) => `p${r}_${o} * d${o}_${part}`, ' + ')};`,
)}
  }
${stores(shape, (r) => repeat(vectors(shape), (part) => `  ${store('dk', `mine${r}`, part, `(${scaleOf(shape)} * dk${r}_${part})`)} ${store('dv', `mine${r}`, part, `dv${r}_${part}`)}`))}`,
  })
}
