/**
 * Attention for GPUs, in the manner of FlashAttention-2 (Dao, 2023): a workgroup has a block of rows of one head (queries; keys
 * for their own gradients) and walks over the others tile by tile, all in shared memory. A whole row of 64 numbers, its
 * partner and both gradients would not fit a thread's registers: here a row is shared by several threads, each with some
 * scores of every tile and some of the result's columns. attention.ts says what is computed; sums have one order.
 */
import { type Kernel, kernel, repeat, spread } from '../kernel.ts'
import { type AttentionShape, accessOf, NEVER, pairs, scaleOf, vectors } from './attentionShape.ts'

const THREADS = 64

/** Rows longer than this do not fit the shared memory that every device has, 16 KiB. */
const MOST_VECTORS = 32

export const fits = (shape: AttentionShape) => shape.tiled === true && vectors(shape) <= MOST_VECTORS

/** Rows of a block; of a tile in the forward pass, and in the backward pass, which holds twice as many. */
function sizesOf(shape: AttentionShape) {
  const block = vectors(shape) <= 16 ? 16 : 8
  return { block, forward: block, backward: block / 2, perRow: THREADS / block }
}

/** Vectors from one row to the next in shared memory: an odd number, so that rows begin in different banks. */
const strideOf = (shape: AttentionShape) => vectors(shape) + (vectors(shape) % 2 === 0 ? 1 : 0)

interface Text {
  readonly kind: string
  readonly buffers: Record<string, string>
  readonly flops: number
  /** Names of the shared arrays: rows of a block, rows of a tile, and one number for each pair. */
  readonly rows: readonly string[]
  readonly walked: readonly string[]
  readonly scores: readonly string[]
  readonly tile: number
  readonly body: string
}

/**
 * The body knows `t0`, the block's first row; `mine`, where the thread's row `t` lies, row `r` of the block; `part0`, its
 * first column in vectors, and `lane` among the threads of the row; `base` and `single` as in attention.ts.
 */
function blocks(shape: AttentionShape, text: Text): Kernel {
  const { sequences, length, heads } = shape
  const { row, head } = accessOf(shape)
  const { block, perRow } = sizesOf(shape)
  const perHead = Math.ceil(length / block)
  const count = sequences * heads * perHead
  const groups = spread(count)
  const array = (rows: number) => (name: string) =>
    `var<workgroup> ${name}: array<vec4<f32>, ${rows * strideOf(shape)}>;`
  return kernel({
    kind: text.kind,
    buffers: text.buffers,
    flops: text.flops,
    threads: [THREADS, 1],
    groups,
    head: [
      ...text.rows.map(array(block)),
      ...text.walked.map(array(text.tile)),
      ...text.scores.map((name) => `var<workgroup> ${name}: array<f32, ${block * text.tile}>;`),
    ].join('\n'),
    body: /* wgsl */ `
  let index = group.y * ${groups[0]}u + group.x;
  if (index >= ${count}u) { return; }
  let thread = local.x;
  let r = thread / ${perRow}u;
  let lane = thread % ${perRow}u;
  let t0 = index % ${perHead}u * ${block}u;
  let t = t0 + r;
  let h = index / ${perHead}u % ${heads}u;
  let sequence = index / ${perHead * heads}u;
  let base = sequence * ${length * row}u + h * ${head}u;
  let single = (sequence * ${heads}u + h) * ${length}u;
  let mine = base + min(t, ${length - 1}u) * ${row}u;
${text.body}`,
  })
}

/** Brings rows from `first` on of each buffer to shared memory; rows beyond the last are the last one again. */
function bring(shape: AttentionShape, rows: number, first: string, from: Record<string, string>): string {
  const { loadPart, row } = accessOf(shape)
  const each = vectors(shape)
  const loads = Object.entries(from).map(
    ([name, buffer]) => `    ${name}[to] = ${loadPart(buffer, 'at', 'part')};`,
  )
  return /* wgsl */ `
  for (var i = thread; i < ${rows * each}u; i += ${THREADS}u) {
    let part = i % ${each}u;
    let at = base + min(${first} + i / ${each}u, ${shape.length - 1}u) * ${row}u;
    let to = i / ${each}u * ${strideOf(shape)}u + part;
${loads.join('\n')}
  }`
}

/** Products of the thread's row in `mine` with the rows in `walked` whose scores it has: `name`0, name1, … */
function products(
  shape: AttentionShape,
  tile: number,
  of: Record<string, readonly [string, string]>,
): string {
  const { perRow } = sizesOf(shape)
  const [stride, each] = [strideOf(shape), Math.ceil(tile / perRow)]
  const entries = Object.entries(of)
  return /* wgsl */ `
${entries.map(([name]) => repeat(each, (j) => `    var ${name}${j} = 0.0;`, ' ')).join('\n')}
    for (var part = 0u; part < ${vectors(shape)}u; part++) {
${entries
  .map(
    ([name, [mine, walked]]) => `      let ${name}Mine = ${mine}[r * ${stride}u + part];
${repeat(each, (j) => `      ${name}${j} += dot(${name}Mine, ${walked}[${columnOf(shape, tile, j)} * ${stride}u + part]);`)}`,
  )
  .join('\n')}
    }`
}

/** Number j of the thread's scores is that of this row of the tile; of more threads than scores some do one again. */
function columnOf(shape: AttentionShape, tile: number, j: number): string {
  const { perRow } = sizesOf(shape)
  return tile < perRow ? `(lane % ${tile}u)` : `(lane + ${j * perRow}u)`
}

/** `text` for each of the thread's scores, with its row of the tile. */
function eachScore(shape: AttentionShape, tile: number, text: (j: number, column: string) => string): string {
  const { perRow } = sizesOf(shape)
  return repeat(Math.ceil(tile / perRow), (j) => `    ${text(j, columnOf(shape, tile, j))}`)
}

/** `text` for each of the thread's columns of the result, in vectors; the last ones may be none. */
function eachPart(shape: AttentionShape, text: (j: number, part: string) => string): string {
  const { perRow } = sizesOf(shape)
  const count = Math.ceil(vectors(shape) / perRow)
  return repeat(count, (j) => {
    const part = `(lane + ${j * perRow}u)`
    const guarded = (j + 1) * perRow > vectors(shape)
    return guarded ? `  if (${part} < ${vectors(shape)}u) { ${text(j, part)} }` : `  ${text(j, part)}`
  })
}

const declare = (shape: AttentionShape, name: string) =>
  repeat(Math.ceil(vectors(shape) / sizesOf(shape).perRow), (j) => `  var ${name}${j} = vec4<f32>();`)

/** → merged: [N, d], sums: log Σ e^score of each query, [B, H, T] */
export function attention(shape: AttentionShape): Kernel {
  const { length, headDim } = shape
  const { type, storePart } = accessOf(shape)
  const { block, forward: tile } = sizesOf(shape)
  const stride = strideOf(shape)
  const scores = `r * ${tile}u`
  return blocks(shape, {
    kind: 'attention',
    buffers: {
      ...{ q: `read ${type}`, k: `read ${type}`, v: `read ${type}` },
      ...{ merged: `write ${type}`, sums: 'write f32' },
    },
    flops: 4 * headDim * pairs(shape),
    rows: ['queries'],
    walked: ['keys', 'values'],
    scores: ['scores'],
    tile,
    body: /* wgsl */ `${bring(shape, block, 't0', { queries: 'q' })}
${declare(shape, 'out')}
  var largest = ${NEVER};
  var sum = 0.0;
  for (var s = 0u; s < min(t0 + ${block}u, ${length}u); s += ${tile}u) {
    workgroupBarrier();
${bring(shape, tile, 's', { keys: 'k', values: 'v' })}
    workgroupBarrier();
${products(shape, tile, { score: ['queries', 'keys'] })}
${eachScore(shape, tile, (j, column) => `score${j} = select(${NEVER}, ${scaleOf(shape)} * score${j}, s + ${column} <= t); scores[${scores} + ${column}] = score${j};`)}
    workgroupBarrier();
    let before = largest;
    for (var c = 0u; c < ${tile}u; c++) { largest = max(largest, scores[${scores} + c]); }
    workgroupBarrier();
${eachScore(shape, tile, (j, column) => `scores[${scores} + ${column}] = exp(score${j} - largest);`)}
    workgroupBarrier();
    let shrink = exp(before - largest);
    sum *= shrink;
${eachPart(shape, (j) => `out${j} *= shrink;`)}
    for (var c = 0u; c < ${tile}u; c++) {
      let p = scores[${scores} + c];
      sum += p;
${eachPart(shape, (j, part) => `out${j} += p * values[c * ${stride}u + ${part}];`)}
    }
  }
  if (t < ${length}u) {
${eachPart(shape, (j, part) => storePart('merged', 'mine', part, `(out${j} / sum)`))}
    if (lane == 0u) { sums[single + t] = largest + log(sum); }
  }`,
  })
}

/** → along: Σ dMerged·merged of each query, [B, H, T], and dq: [N, d] */
export function attentionBackwardQueries(shape: AttentionShape): Kernel {
  const { length, headDim } = shape
  const { type, loadPart, storePart } = accessOf(shape)
  const { block, backward: tile } = sizesOf(shape)
  const stride = strideOf(shape)
  const scores = `r * ${tile}u`
  return blocks(shape, {
    kind: 'attention backward, queries',
    buffers: {
      ...{ q: `read ${type}`, k: `read ${type}`, v: `read ${type}` },
      ...{ merged: `read ${type}`, dMerged: `read ${type}`, sums: 'read f32' },
      ...{ along: 'write f32', dq: `write ${type}` },
    },
    flops: 6 * headDim * pairs(shape),
    rows: ['queries', 'slopes'],
    walked: ['keys', 'values'],
    scores: ['ds'],
    tile,
    body: /* wgsl */ `${bring(shape, block, 't0', { queries: 'q', slopes: 'dMerged' })}
  workgroupBarrier();
  let logSum = sums[single + min(t, ${length - 1}u)];
  var mean = 0.0;
  for (var part = 0u; part < ${vectors(shape)}u; part++) {
    mean += dot(slopes[r * ${stride}u + part], ${loadPart('merged', 'mine', 'part')});
  }
${declare(shape, 'dq')}
  for (var s = 0u; s < min(t0 + ${block}u, ${length}u); s += ${tile}u) {
    workgroupBarrier();
${bring(shape, tile, 's', { keys: 'k', values: 'v' })}
    workgroupBarrier();
${products(shape, tile, { score: ['queries', 'keys'], along: ['slopes', 'values'] })}
${eachScore(shape, tile, (j, column) => `ds[${scores} + ${column}] = select(0.0, exp(${scaleOf(shape)} * score${j} - logSum) * (along${j} - mean), s + ${column} <= t);`)}
    workgroupBarrier();
    for (var c = 0u; c < ${tile}u; c++) {
      let slope = ds[${scores} + c];
${eachPart(shape, (j, part) => `dq${j} += slope * keys[c * ${stride}u + ${part}];`)}
    }
  }
  if (t < ${length}u) {
${eachPart(shape, (j, part) => storePart('dq', 'mine', part, `(${scaleOf(shape)} * dq${j})`))}
    if (lane == 0u) { along[single + t] = mean; }
  }`,
  })
}

/** → dk, dv: [N, d] each. The block's rows are keys here, and it walks over the queries that see them. */
export function attentionBackwardKeys(shape: AttentionShape): Kernel {
  const { length, headDim } = shape
  const { type, storePart } = accessOf(shape)
  const { block, backward: tile } = sizesOf(shape)
  const stride = strideOf(shape)
  const scores = `r * ${tile}u`
  return blocks(shape, {
    kind: 'attention backward, keys and values',
    buffers: {
      ...{ q: `read ${type}`, k: `read ${type}`, v: `read ${type}` },
      ...{ dMerged: `read ${type}`, sums: 'read f32', along: 'read f32' },
      ...{ dk: `write ${type}`, dv: `write ${type}` },
    },
    flops: 8 * headDim * pairs(shape),
    rows: ['keys', 'values'],
    walked: ['queries', 'slopes'],
    scores: ['ps', 'ds'],
    tile,
    body: /* wgsl */ `${bring(shape, block, 't0', { keys: 'k', values: 'v' })}
${declare(shape, 'dk')}
${declare(shape, 'dv')}
  for (var s = t0; s < ${length}u; s += ${tile}u) {
    workgroupBarrier();
${bring(shape, tile, 's', { queries: 'q', slopes: 'dMerged' })}
    workgroupBarrier();
${products(shape, tile, { score: ['keys', 'queries'], along: ['values', 'slopes'] })}
${eachScore(
  shape,
  tile,
  (j, column) => `{
      let query = single + min(s + ${column}, ${length - 1}u);
      let p = select(0.0, exp(${scaleOf(shape)} * score${j} - sums[query]), t <= s + ${column} && s + ${column} < ${length}u);
      ps[${scores} + ${column}] = p;
      ds[${scores} + ${column}] = p * (along${j} - along[query]);
    }`,
)}
    workgroupBarrier();
    for (var c = 0u; c < ${tile}u; c++) {
      let p = ps[${scores} + c];
      let slope = ds[${scores} + c];
${eachPart(shape, (j, part) => `dk${j} += slope * queries[c * ${stride}u + ${part}]; dv${j} += p * slopes[c * ${stride}u + ${part}];`)}
    }
  }
  if (t < ${length}u) {
${eachPart(shape, (j, part) => `${storePart('dk', 'mine', part, `(${scaleOf(shape)} * dk${j})`)} ${storePart('dv', 'mine', part, `dv${j}`)}`)}
  }`,
  })
}
