/**
 * A map from ids that is never changed: `with` and `without` give another, which shares almost everything with this one
 * and costs O(log n), as does finding the first and the last by an order of its values. For what the machine knows of
 * volunteers, who may be very many, and of a round's leases. A trie over a hash of the id; equal contents have equal
 * structure, whatever order they came in, so that deep comparison works.
 */

type Node<T> = Leaf<T> | Branch<T>
/** By the book's order, equals by id; null of nothing, and of a book without order. */
interface Extremes<T> {
  readonly first: Pair<T> | null
  readonly last: Pair<T> | null
}
interface Leaf<T> extends Extremes<T> {
  readonly count: number
  readonly entries: Readonly<Record<string, T>>
}
interface Branch<T> extends Extremes<T> {
  readonly count: number
  readonly children: readonly Node<T>[]
}

type Pair<T> = readonly [id: string, value: T]
/** As of Array.prototype.sort. */
export type Order<T> = (a: T, b: T) => number

/** Of an id, in one book and in a later one. */
export interface Difference<T> {
  readonly id: string
  readonly before: T | undefined
  readonly after: T | undefined
}

const BITS = 5
const WIDTH = 2 ** BITS
/** Entries of a leaf at most, unless the hash has no more bits to part them. */
const LEAF = 12
const DEPTH = Math.floor(32 / BITS)

const EMPTY: Leaf<never> = { count: 0, first: null, last: null, entries: {} }

export class Book<T> {
  private constructor(
    private readonly root: Node<T>,
    private readonly order: Order<T> | null,
  ) {}

  static of<T>(entries: Iterable<Pair<T>>, order: Order<T> | null = null): Book<T> {
    const last = new Map(entries) // of an id that comes twice
    const hashed = Array.from(last, ([id, value]) => ({ id, value, hash: hashOf(id) }))
    return new Book(build(hashed, 0, order), order)
  }

  get size(): number {
    return this.root.count
  }

  /** With the id. Null of a book that is empty or has no order. */
  get first(): Pair<T> | null {
    return this.root.first
  }

  get last(): Pair<T> | null {
    return this.root.last
  }

  get(id: string): T | undefined {
    let node = this.root
    for (let depth = 0; 'children' in node; depth++) node = node.children[slot(hashOf(id), depth)] ?? EMPTY
    return Object.hasOwn(node.entries, id) ? node.entries[id] : undefined
  }

  has(id: string): boolean {
    return this.get(id) !== undefined
  }

  /** `undefined` is no value. */
  with(id: string, value: T): Book<T> {
    if (this.get(id) === value) return this
    return new Book(put(this.root, { id, value, hash: hashOf(id) }, 0, this.order), this.order)
  }

  without(id: string): Book<T> {
    return this.has(id)
      ? new Book(taken(this.root, { id, hash: hashOf(id) }, 0, this.order), this.order)
      : this
  }

  *entries(): Generator<[string, T]> {
    yield* entriesOf(this.root)
  }

  *keys(): Generator<string> {
    for (const [id] of entriesOf(this.root)) yield id
  }

  *values(): Generator<T> {
    for (const [, value] of entriesOf(this.root)) yield value
  }

  /** What is not the same object in an earlier book, or of none; costs what that is, not what both have. */
  *since(before?: Book<T>): Generator<Difference<T>> {
    yield* differences(before?.root ?? EMPTY, this.root)
  }

  toJSON(): Record<string, T> {
    return Object.fromEntries(this.entries())
  }
}

interface Entry<T> {
  readonly id: string
  readonly value: T
  readonly hash: number
}

/** FNV-1a, and its high bits mixed into the low ones. */
function hashOf(id: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < id.length; i++) hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193)
  return (hash ^ (hash >>> 15)) >>> 0
}

const slot = (hash: number, depth: number): number => (hash >>> (BITS * depth)) & (WIDTH - 1)

function build<T>(entries: readonly Entry<T>[], depth: number, order: Order<T> | null): Node<T> {
  if (entries.length === 0) return EMPTY
  if (entries.length <= LEAF || depth === DEPTH) {
    return leaf(Object.fromEntries(entries.map(({ id, value }) => [id, value])), order)
  }
  const parts: Entry<T>[][] = Array.from({ length: WIDTH }, () => [])
  for (const entry of entries) parts[slot(entry.hash, depth)]?.push(entry)
  return branch(
    parts.map((part) => build(part, depth + 1, order)),
    order,
  )
}

function put<T>(node: Node<T>, entry: Entry<T>, depth: number, order: Order<T> | null): Node<T> {
  if ('children' in node) {
    const at = slot(entry.hash, depth)
    return branch(node.children.with(at, put(node.children[at] ?? EMPTY, entry, depth + 1, order)), order)
  }
  const whole = leaf({ ...node.entries, [entry.id]: entry.value }, order)
  if (whole.count <= LEAF || depth === DEPTH) return whole
  return build(
    Object.entries(whole.entries).map(([id, value]) => ({ id, value, hash: hashOf(id) })),
    depth,
    order,
  )
}

function taken<T>(
  node: Node<T>,
  entry: Pick<Entry<T>, 'id' | 'hash'>,
  depth: number,
  order: Order<T> | null,
): Node<T> {
  if ('children' in node) {
    const at = slot(entry.hash, depth)
    const less = branch(
      node.children.with(at, taken(node.children[at] ?? EMPTY, entry, depth + 1, order)),
      order,
    )
    return less.count > LEAF ? less : leaf(Object.fromEntries(entriesOf(less)), order)
  }
  const { [entry.id]: _, ...entries } = node.entries
  return leaf(entries, order)
}

function leaf<T>(entries: Readonly<Record<string, T>>, order: Order<T> | null): Leaf<T> {
  const pairs = Object.entries(entries)
  if (pairs.length === 0) return EMPTY
  return { count: pairs.length, ...extremes(pairs, pairs, order), entries }
}

function branch<T>(children: readonly Node<T>[], order: Order<T> | null): Branch<T> {
  let count = 0
  for (const child of children) count += child.count
  if (order === null) return { count, first: null, last: null, children }
  const firsts = children.map(({ first }) => first)
  const lasts = children.map(({ last }) => last)
  return { count, ...extremes(firsts, lasts, order), children }
}

function extremes<T>(
  firsts: readonly (Pair<T> | null)[],
  lasts: readonly (Pair<T> | null)[],
  order: Order<T> | null,
): Extremes<T> {
  if (order === null) return { first: null, last: null }
  const compare = (a: Pair<T>, b: Pair<T>) => order(a[1], b[1]) || (a[0] < b[0] ? -1 : 1)
  let [first, last]: (Pair<T> | null)[] = [null, null]
  for (const pair of firsts) if (pair && (!first || compare(pair, first) < 0)) first = pair
  for (const pair of lasts) if (pair && (!last || compare(pair, last) > 0)) last = pair
  return { first: first ?? null, last: last ?? null }
}

function* entriesOf<T>(node: Node<T>): Generator<[string, T]> {
  if ('children' in node) for (const child of node.children) yield* entriesOf(child)
  else yield* Object.entries(node.entries)
}

function* differences<T>(before: Node<T>, after: Node<T>): Generator<Difference<T>> {
  if (before === after) return
  if ('children' in before && 'children' in after) {
    for (let i = 0; i < WIDTH; i++)
      yield* differences<T>(before.children[i] ?? EMPTY, after.children[i] ?? EMPTY)
    return
  }
  const earlier = new Map(entriesOf(before))
  for (const [id, value] of entriesOf(after)) {
    if (earlier.get(id) !== value) yield { id, before: earlier.get(id), after: value }
    earlier.delete(id)
  }
  for (const [id, value] of earlier) yield { id, before: value, after: undefined }
}
