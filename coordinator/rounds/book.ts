/**
 * A map from ids that is never changed: `with` and `without` give another, which shares almost everything with this one
 * and costs the same however many there are. For what the machine knows of volunteers, who may be very many. A trie over
 * a hash of the id; equal contents have equal structure, whatever order they came in, so that deep comparison works.
 */

type Node<T> = Leaf<T> | Branch<T>
interface Leaf<T> {
  readonly count: number
  readonly entries: Readonly<Record<string, T>>
}
interface Branch<T> {
  readonly count: number
  readonly children: readonly Node<T>[]
}

const BITS = 5
const WIDTH = 2 ** BITS
/** Entries of a leaf at most, unless the hash has no more bits to part them. */
const LEAF = 12
const DEPTH = Math.floor(32 / BITS)

const EMPTY: Leaf<never> = { count: 0, entries: {} }

export class Book<T> {
  private constructor(private readonly root: Node<T>) {}

  static of<T>(entries: Iterable<readonly [string, T]>): Book<T> {
    const last = new Map(entries) // of an id that comes twice
    return new Book(
      build(
        Array.from(last, ([id, value]) => ({ id, value, hash: hashOf(id) })),
        0,
      ),
    )
  }

  get size(): number {
    return this.root.count
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
    return new Book(put(this.root, { id, value, hash: hashOf(id) }, 0))
  }

  without(id: string): Book<T> {
    return this.has(id) ? new Book(taken(this.root, id, hashOf(id), 0)) : this
  }

  *entries(): Generator<[string, T]> {
    yield* entriesOf(this.root)
  }

  *keys(): Generator<string> {
    for (const [id] of entriesOf(this.root)) yield id
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

function build<T>(entries: readonly Entry<T>[], depth: number): Node<T> {
  if (entries.length <= LEAF || depth === DEPTH) {
    return { count: entries.length, entries: Object.fromEntries(entries.map(({ id, value }) => [id, value])) }
  }
  const parts: Entry<T>[][] = Array.from({ length: WIDTH }, () => [])
  for (const entry of entries) parts[slot(entry.hash, depth)]?.push(entry)
  return branch(parts.map((part) => (part.length === 0 ? EMPTY : build(part, depth + 1))))
}

function put<T>(node: Node<T>, entry: Entry<T>, depth: number): Node<T> {
  if ('children' in node) {
    const at = slot(entry.hash, depth)
    return branch(node.children.with(at, put(node.children[at] ?? EMPTY, entry, depth + 1)))
  }
  const entries = { ...node.entries, [entry.id]: entry.value }
  const count = Object.hasOwn(node.entries, entry.id) ? node.count : node.count + 1
  if (count <= LEAF || depth === DEPTH) return { count, entries }
  return build(
    Object.entries(entries).map(([id, value]) => ({ id, value, hash: hashOf(id) })),
    depth,
  )
}

const branch = <T>(children: readonly Node<T>[]): Branch<T> => ({
  count: children.reduce((sum, { count }) => sum + count, 0),
  children,
})

function taken<T>(node: Node<T>, id: string, hash: number, depth: number): Node<T> {
  if ('children' in node) {
    const at = slot(hash, depth)
    const less = branch(node.children.with(at, taken(node.children[at] ?? EMPTY, id, hash, depth + 1)))
    if (less.count > LEAF) return less
    return { count: less.count, entries: Object.fromEntries(entriesOf(less)) }
  }
  const { [id]: _, ...entries } = node.entries
  return { count: node.count - 1, entries }
}

function* entriesOf<T>(node: Node<T>): Generator<[string, T]> {
  if ('children' in node) for (const child of node.children) yield* entriesOf(child)
  else yield* Object.entries(node.entries)
}
