/**
 * C = A·B in three storage orders, in batches, as a sum of several products, added to C or to a residual. A thread
 * computes a small tile of C in registers. Two ways to bring A and B there: `direct`, each thread reads what it needs
 * (no barriers: for a GPU that is a program on the CPU), and `shared`, a workgroup brings tiles to shared memory once
 * for all its threads (for GPUs).
 *
 * Columns of C come in vectors of four. Where a width is no multiple of four, or a size none of the tile, loads are
 * made element by element, clamped to what exists, and stores are guarded.
 *
 * Sizes are not in the text but beside it, because these shaders are long: a model needs a dozen products and few shaders.
 */
import { access, type Element, type Kernel, kernel, repeat } from '../kernel.ts'

/** How A and B are stored: `T` is the transpose of what the product wants. NN: [m, k]·[k, n]; NT: B is [n, k]; TN: A is [k, m]. */
export type Order = 'NN' | 'NT' | 'TN'

/** Elements from one matrix to the next. */
export interface Strides {
  readonly a: number
  readonly b: number
  readonly c: number
}

export interface Product {
  readonly order: Order
  readonly m: number
  readonly n: number
  readonly k: number
  /** Products side by side, each with its own C. Default: one. */
  readonly batch?: { readonly count: number; readonly strides: Strides }
  /** Products that add up to one C. Default: one. */
  readonly terms?: { readonly count: number; readonly strides: Omit<Strides, 'c'> }
  /** C is set, added to, or becomes the residual plus the product. */
  readonly result: 'set' | 'add' | 'residual'
  /**
   * Parts of k that are multiplied by themselves, for more workgroups where C is small and k is long: C is then all the
   * parts' products, [splits, batch, m, n], for sumOfParts to add up. Default: 1.
   */
  readonly splits?: number
  /** In memory; the product is computed in f32. Default: f32. A residual is f32. */
  readonly elements?: { readonly a?: Element; readonly b?: Element; readonly c?: Element }
}

/** What is chosen by measurement: it changes speed and the order of sums, nothing else. */
export interface Tile {
  readonly way: 'direct' | 'shared'
  /** Of C, a thread's: rows (a multiple of 4) and columns (a multiple of 4). */
  readonly rows: number
  readonly columns: number
  /** Threads of a workgroup along the columns and the rows. */
  readonly across: number
  readonly down: number
  /** Depth of the tiles in shared memory, a multiple of 4. */
  readonly depth: number
}

export function matmul(product: Product, tile: Tile): Kernel {
  const { order, m, n, k, batch, terms, result } = product
  const wide = tile.columns * tile.across
  const high = tile.rows * tile.down
  const text = textOf(product, tile)
  const way = tile.way === 'direct' ? direct : shared
  const count = terms?.count ?? 1
  const batches = batch?.strides ?? { a: 0, b: 0, c: 0 }
  const splits = product.splits ?? 1
  return kernel({
    kind: `matmul ${order}`,
    buffers: {
      a: `read ${text.a.type}`,
      b: `read ${text.b.type}`,
      ...(result === 'residual' ? { residual: `read ${access('f32', text.vectorC ? 4 : 1).type}` } : {}),
      c: `${result === 'add' ? 'update' : 'write'} ${text.c.type}`,
    },
    threads: [tile.across, tile.down],
    groups: [Math.ceil(n / wide), Math.ceil(m / high), (batch?.count ?? 1) * splits],
    flops: 2 * m * n * k * (batch?.count ?? 1) * count,
    head: way.head(text),
    body: /* wgsl */ `
  let split = group.z % sizes.splits;
  let batch = group.z / sizes.splits;
  let begin = split * sizes.span;
  let end = min(sizes.k, begin + sizes.span);
  let row = group.y * ${high}u + local.y * ${tile.rows}u;
  let firstColumn = group.x * ${wide}u;
  let column = firstColumn + local.x * 4u;
${repeat(tile.rows, (i) => `  ${repeat(text.vectors, (j) => `var c${i}_${j} = vec4<f32>();`, ' ')}`)}
  for (var term = 0u; term < sizes.terms; term++) {
    let fromA = batch * sizes.batchA + term * sizes.termA;
    let fromB = batch * sizes.batchB + term * sizes.termB;
${way.loop(text)}
  }
  let fromC = batch * sizes.batchC + split * sizes.splitC;
${stores(text)}`,
    constants: {
      ...{ m, n, k, terms: count },
      // A part of k is whole tiles, so that no tile is of two parts.
      ...{ splits, span: Math.ceil(k / splits / tile.depth) * tile.depth },
      ...{ splitC: splits > 1 ? (batch?.count ?? 1) * partSize(product) : 0 },
      ...{ batchA: batches.a, batchB: batches.b, batchC: splits > 1 ? partSize(product) : batches.c },
      ...{ termA: terms?.strides.a ?? 0, termB: terms?.strides.b ?? 0 },
    },
  })
}

/** Elements from one product to the next where k is split. */
export const partSize = ({ m, n }: Pick<Product, 'm' | 'n'>) => Math.ceil((m * n) / 4) * 4

interface Text {
  readonly product: Product
  readonly tile: Tile
  /** Whether a load or store takes four elements. */
  readonly vectorA: boolean
  readonly vectorB: boolean
  readonly vectorC: boolean
  /** A load or store of each. */
  readonly a: ReturnType<typeof access>
  readonly b: ReturnType<typeof access>
  readonly c: ReturnType<typeof access>
  /** Vectors of four in a row of a thread's tile. */
  readonly vectors: number
  /** Whether the tiles fit m, n and k without edges. */
  readonly exactM: boolean
  readonly exactN: boolean
  readonly exactK: boolean
}

function textOf(product: Product, tile: Tile): Text {
  const { order, m, n, k, batch, terms } = product
  const none = { a: 0, b: 0, c: 0 }
  const batchStrides = batch?.strides ?? none
  const termStrides = terms?.strides ?? none
  const aligned = (...numbers: number[]) => numbers.every((number) => number % 4 === 0)
  const vectorA = aligned(order === 'TN' ? m : k, batchStrides.a, termStrides.a)
  const vectorB = aligned(order === 'NT' ? k : n, batchStrides.b, termStrides.b)
  const vectorC = aligned(n, product.splits === undefined ? batchStrides.c : 0)
  const { a = 'f32', b = 'f32', c = 'f32' } = product.elements ?? {}
  return {
    product,
    tile,
    ...{ vectorA, vectorB, vectorC },
    a: access(a, vectorA ? 4 : 1),
    b: access(b, vectorB ? 4 : 1),
    c: access(c, vectorC ? 4 : 1),
    vectors: tile.columns / 4,
    exactM: m % (tile.rows * tile.down) === 0,
    exactN: n % (tile.columns * tile.across) === 0,
    exactK: k % tile.depth === 0,
  }
}

/** Column of vector j of a thread's tile: neighbouring threads have neighbouring vectors. */
const columnOf = ({ tile }: Text, j: number) => `(column + ${4 * tile.across * j}u)`
const LETTERS = ['x', 'y', 'z', 'w'] as const

/** `index`, or the last one that exists: what is read beyond an edge is not stored. */
const clamped = (index: string, limit: string, exact: boolean, width = 1) =>
  exact ? index : `min(${index}, ${limit} - ${width}u)`

/** One element of A at (row, k) of the product. */
function elementA({ product: { order }, vectorA, a }: Text, row: string, depth: string): string {
  const at = order === 'TN' ? `fromA + ${depth} * sizes.m + ${row}` : `fromA + ${row} * sizes.k + ${depth}`
  return vectorA ? `${a.load(`a[(${at}) / 4u]`)}[(${at}) % 4u]` : a.load(`a[${at}]`)
}

function elementB({ product: { order }, vectorB, b }: Text, depth: string, column: string): string {
  const at =
    order === 'NT' ? `fromB + ${column} * sizes.k + ${depth}` : `fromB + ${depth} * sizes.n + ${column}`
  return vectorB ? `${b.load(`b[(${at}) / 4u]`)}[(${at}) % 4u]` : b.load(`b[${at}]`)
}

const multiplyAdd = (text: Text, a: (i: number) => string, b: (j: number) => string) =>
  repeat(
    text.tile.rows,
    (i) =>
      `      ${repeat(text.vectors, (j) => `c${i}_${j} = fma(vec4<f32>(${a(i)}), ${b(j)}, c${i}_${j});`, ' ')}`,
  )

/**
 * Every thread reads for itself, four steps along k at once where k allows it: their products are one expression for each
 * vector of C, which is then read and written once (a software GPU keeps variables in memory).
 */
const direct = {
  head: () => '',
  loop(text: Text): string {
    const { order, k } = text.product
    const steps = k % 4 === 0 ? 4 : 1
    const depths = Array.from({ length: steps }, (_, e) => e)
    const a = (i: number, e: number) => {
      if (order === 'TN') return `a${e}_${i >> 2}.${LETTERS[i % 4]}`
      return steps === 4 ? `a${i}.${LETTERS[e]}` : `a${i}`
    }
    const b = (j: number, e: number) => {
      if (order !== 'NT') return `b${e}_${j}`
      return `vec4<f32>(${[0, 1, 2, 3].map((q) => `b${j}_${q}${steps === 4 ? `.${LETTERS[e]}` : ''}`).join(', ')})`
    }
    const sum = (i: number, j: number) =>
      depths.reduce((before, e) => `fma(vec4<f32>(${a(i, e)}), ${b(j, e)}, ${before})`, `c${i}_${j}`)
    return /* wgsl */ `
    for (var depth = begin; depth < end; depth += ${steps}u) {
${order === 'TN' ? '' : loadsA(text, steps)}
${order === 'NT' ? loadsTransposedB(text, steps) : ''}
${repeat(steps, (e) => (order === 'TN' ? loadsTransposedA(text, e) : ''))}
${repeat(steps, (e) => (order === 'NT' ? '' : loadsB(text, e)))}
${repeat(text.tile.rows, (i) => `      ${repeat(text.vectors, (j) => `c${i}_${j} = ${sum(i, j)};`, ' ')}`)}
    }`
  },
}

const depthOf = (e: number) => (e === 0 ? 'depth' : `(depth + ${e}u)`)

const rowOf = ({ exactM }: Text, i: number) => clamped(`(row + ${i}u)`, 'sizes.m', exactM)

/** a0, a1, …: for each row its elements at depth …: a vector of four, or one. */
function loadsA(text: Text, steps: number): string {
  return repeat(text.tile.rows, (i) => {
    const row = rowOf(text, i)
    if (text.vectorA && steps === 4)
      return `      let a${i} = ${text.a.load(`a[(fromA + ${row} * sizes.k + depth) / 4u]`)};`
    if (steps === 1) return `      let a${i} = ${elementA(text, row, 'depth')};`
    const four = [0, 1, 2, 3].map((e) => elementA(text, row, `depth + ${e}u`))
    return `      let a${i} = vec4<f32>(${four.join(', ')});`
  })
}

/** a0_0, a0_1, …: of step e, each four rows. */
function loadsTransposedA(text: Text, e: number): string {
  const depth = depthOf(e)
  return repeat(text.tile.rows / 4, (v) => {
    if (text.vectorA) {
      const row = clamped(`(row + ${4 * v}u)`, 'sizes.m', text.exactM, 4)
      return `      let a${e}_${v} = ${text.a.load(`a[(fromA + ${depth} * sizes.m + ${row}) / 4u]`)};`
    }
    const four = [0, 1, 2, 3].map((q) => elementA(text, rowOf(text, 4 * v + q), depth))
    return `      let a${e}_${v} = vec4<f32>(${four.join(', ')});`
  })
}

const clampedColumn = (text: Text, j: number, e: number) =>
  clamped(`(${columnOf(text, j)} + ${e}u)`, 'sizes.n', text.exactN)

/** b0_0, b0_1, …: of step e, each four columns. */
function loadsB(text: Text, e: number): string {
  const depth = depthOf(e)
  return repeat(text.vectors, (j) => {
    if (text.vectorB) {
      const column = clamped(columnOf(text, j), 'sizes.n', text.exactN, 4)
      return `      let b${e}_${j} = ${text.b.load(`b[(fromB + ${depth} * sizes.n + ${column}) / 4u]`)};`
    }
    const four = [0, 1, 2, 3].map((q) => elementB(text, depth, clampedColumn(text, j, q)))
    return `      let b${e}_${j} = vec4<f32>(${four.join(', ')});`
  })
}

/** b0_0, b0_1, …: for each column its elements at depth …: a vector of four, or one. */
function loadsTransposedB(text: Text, steps: number): string {
  return repeat(text.vectors, (j) =>
    repeat(4, (q) => {
      const column = clampedColumn(text, j, q)
      if (text.vectorB && steps === 4)
        return `      let b${j}_${q} = ${text.b.load(`b[(fromB + ${column} * sizes.k + depth) / 4u]`)};`
      if (steps === 1) return `      let b${j}_${q} = ${elementB(text, 'depth', column)};`
      const four = [0, 1, 2, 3].map((e) => elementB(text, `depth + ${e}u`, column))
      return `      let b${j}_${q} = vec4<f32>(${four.join(', ')});`
    }),
  )
}

/**
 * Tiles of A, [depth][rows], and of B, [depth][columns], in shared memory as vectors of four along rows and columns.
 * All threads fill them together, zeros beyond the edges, and read them `depth` times.
 */
const shared = {
  head({ tile }: Text): string {
    const [high, wide] = [tile.rows * tile.down, tile.columns * tile.across]
    return /* wgsl */ `
var<workgroup> tileA: array<vec4<f32>, ${(tile.depth * high) / 4}>;
var<workgroup> tileB: array<vec4<f32>, ${(tile.depth * wide) / 4}>;`
  },
  loop(text: Text): string {
    const { tile, product } = text
    const [high, wide] = [(tile.rows * tile.down) / 4, (tile.columns * tile.across) / 4]
    const { order } = product
    return /* wgsl */ `
    let thread = local.y * ${tile.across}u + local.x;
    for (var depth = begin; depth < end; depth += ${tile.depth}u) {
${fill(text, 'A', order === 'TN', high, 'group.y', (outer, inner) => elementA(text, outer, inner))}
${fill(text, 'B', order !== 'NT', wide, 'group.x', (outer, inner) => elementB(text, inner, outer))}
      workgroupBarrier();
      for (var e = 0u; e < ${tile.depth}u; e++) {
${repeat(tile.rows / 4, (v) => `        let a${v} = tileA[e * ${high}u + local.y * ${tile.rows / 4}u + ${v}u];`)}
${repeat(text.vectors, (j) => `        let b${j} = tileB[e * ${wide}u + local.x + ${j * tile.across}u];`)}
${multiplyAdd(
  text,
  (i) => `a${i >> 2}.${LETTERS[i % 4]}`,
  (j) => `b${j}`,
)}
      }
      workgroupBarrier();
    }`
  },
}

/**
 * Fills one tile. `outer` is the index among rows of A or columns of B; where those lie next to one another in memory
 * (`along`), a vector is one load, and where the depth does, four vectors along it are loaded and turned.
 */
function fill(
  text: Text,
  name: 'A' | 'B',
  along: boolean,
  vectors: number,
  group: string,
  element: (outer: string, inner: string) => string,
): string {
  const { tile } = text
  const threads = tile.across * tile.down
  const limit = name === 'A' ? 'sizes.m' : 'sizes.n'
  const vector = name === 'A' ? text.vectorA : text.vectorB
  const lower = name === 'A' ? 'a' : 'b'
  const { load } = text[lower]
  const exact = (name === 'A' ? text.exactM : text.exactN) && text.exactK
  const guard = (outer: string, inner: string, value: string) => {
    if (exact) return value
    return `select(${vector ? 'vec4<f32>()' : '0.0'}, ${value}, ${outer} < ${limit} && ${inner} < sizes.k)`
  }
  // One load brings four elements along the tile's vectors, four along the depth, or only one.
  if (vector && along) {
    const at = `(from${name} + inner * ${limit} + outer) / 4u`
    return loopOver(
      tile.depth * vectors,
      threads,
      `
        let inner = depth + at / ${vectors}u;
        let outer = ${group} * ${4 * vectors}u + at % ${vectors}u * 4u;
        tile${name}[at] = ${guard('outer', 'inner', load(`${lower}[${at}]`))};`,
    )
  }
  if (vector) {
    const row = (q: number) => {
      const outer = clamped(`(outer + ${q}u)`, limit, exact)
      return guard(
        `outer + ${q}u`,
        'inner',
        load(`${lower}[(from${name} + ${outer} * sizes.k + inner) / 4u]`),
      )
    }
    return loopOver(
      (tile.depth / 4) * vectors,
      threads,
      `
        let inner = depth + at / ${vectors}u * 4u;
        let outer = ${group} * ${4 * vectors}u + at % ${vectors}u * 4u;
${repeat(4, (q) => `        let v${q} = ${row(q)};`)}
        let to = at / ${vectors}u * ${4 * vectors}u + at % ${vectors}u;
${repeat(4, (e) => `        tile${name}[to + ${e * vectors}u] = vec4<f32>(${repeat(4, (q) => `v${q}.${LETTERS[e]}`, ', ')});`)}`,
    )
  }
  const one = (q: number) => {
    const clampedOuter = clamped(`(outer + ${q}u)`, limit, exact)
    const clampedInner = clamped('inner', 'sizes.k', exact)
    return guard(`outer + ${q}u`, 'inner', element(clampedOuter, clampedInner))
  }
  return loopOver(
    tile.depth * vectors,
    threads,
    `
        let inner = depth + at / ${vectors}u;
        let outer = ${group} * ${4 * vectors}u + at % ${vectors}u * 4u;
        tile${name}[at] = vec4<f32>(${repeat(4, one, ', ')});`,
  )
}

function loopOver(count: number, threads: number, body: string): string {
  if (count === threads) return `      {\n        let at = thread;${body}\n      }`
  return `      for (var at = thread; at < ${count}u; at += ${threads}u) {${body}\n      }`
}

function stores(text: Text): string {
  const { result } = text.product
  const put = (at: string, value: string) => {
    if (result === 'add') return `c[${at}] += ${value};`
    return `c[${at}] = ${text.c.store(result === 'residual' ? `residual[${at}] + ${value}` : value)};`
  }
  return repeat(text.tile.rows, (i) => {
    const row = `(row + ${i}u)`
    const columns = repeat(
      text.vectors,
      (j) => {
        const column = columnOf(text, j)
        if (text.vectorC) {
          const store = put(`(fromC + ${row} * sizes.n + ${column}) / 4u`, `c${i}_${j}`)
          return text.exactN ? store : `if (${column} < sizes.n) { ${store} }`
        }
        return repeat(4, (e) => {
          const store = put(`fromC + ${row} * sizes.n + ${column} + ${e}u`, `c${i}_${j}.${LETTERS[e]}`)
          return `if (${column} + ${e}u < sizes.n) { ${store} }`
        })
      },
      ' ',
    )
    return text.exactM ? `  ${columns}` : `  if (${row} < sizes.m) { ${columns} }`
  })
}
