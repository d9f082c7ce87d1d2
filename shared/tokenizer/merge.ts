/**
 * The merges applied to one word: always the earliest learned, of those the leftmost. Not the split into words
 * (split.ts), and no cache (tokenizer.ts).
 */
import { Heap } from './heap.ts'
import { BYTE_IDS, type Merge } from './vocabulary.ts'

const NO_MERGE = -1
/** Longer words take the heap; for shorter ones looking at every pair again is faster. */
const SHORT = 64

/** Which id a pair of ids becomes: an open-addressing table of 32-bit keys, because a Map boxes numbers beyond 2^31. */
class PairTable {
  readonly #keys: Int32Array
  readonly #ids: Int32Array
  readonly #mask: number

  constructor(merges: readonly Merge[]) {
    const capacity = 2 ** Math.ceil(Math.log2(4 * merges.length + 4))
    this.#keys = new Int32Array(capacity)
    this.#ids = new Int32Array(capacity).fill(NO_MERGE)
    this.#mask = capacity - 1
    merges.forEach(([left, right], index) => {
      const key = (left << 16) | right
      let slot = this.#slotOf(key)
      while (this.#ids[slot] !== NO_MERGE && this.#keys[slot] !== key) slot = (slot + 1) & this.#mask
      this.#keys[slot] = key
      this.#ids[slot] = BYTE_IDS + index
    })
  }

  /** The id, or NO_MERGE. */
  get(left: number, right: number): number {
    const key = (left << 16) | right
    let slot = this.#slotOf(key)
    for (;;) {
      const id = this.#ids[slot] as number // slot is below the capacity
      if (id === NO_MERGE || this.#keys[slot] === key) return id
      slot = (slot + 1) & this.#mask
    }
  }

  #slotOf(key: number): number {
    const hash = Math.imul(key, 0x9e3779b1)
    return (hash ^ (hash >>> 15)) & this.#mask
  }
}

export class WordMerger {
  readonly #pairs: PairTable
  readonly #symbols = new Int32Array(SHORT)
  readonly #joined = new Int32Array(SHORT)

  /** @param merges of ids below 65,536, the earliest learned first. */
  constructor(merges: readonly Merge[]) {
    this.#pairs = new PairTable(merges)
  }

  /** The ids of a word's bytes. n log n in the word's length, so that no word is too long. */
  merge(bytes: Uint8Array): number[] {
    return bytes.length <= SHORT ? this.#mergeShort(bytes) : mergeLong(bytes, this.#pairs)
  }

  #mergeShort(bytes: Uint8Array): number[] {
    const symbols = this.#symbols
    const joined = this.#joined // joined[i] is what symbols i and i + 1 become
    const pairs = this.#pairs
    let count = bytes.length
    for (let i = 0; i < count; i++) symbols[i] = bytes[i] as number
    for (let i = 0; i + 1 < count; i++) joined[i] = pairs.get(symbols[i] as number, symbols[i + 1] as number)
    while (count > 1) {
      let best = -1
      let lowest = Number.MAX_SAFE_INTEGER
      for (let i = 0; i + 1 < count; i++) {
        const id = joined[i] as number
        if (id !== NO_MERGE && id < lowest) {
          lowest = id
          best = i
        }
      }
      if (best < 0) break
      symbols[best] = lowest
      symbols.copyWithin(best + 1, best + 2, count)
      joined.copyWithin(best + 1, best + 2, count)
      count--
      if (best > 0) joined[best - 1] = pairs.get(symbols[best - 1] as number, lowest)
      if (best + 1 < count) joined[best] = pairs.get(lowest, symbols[best + 1] as number)
    }
    return Array.from(symbols.subarray(0, count))
  }
}

function mergeLong(bytes: Uint8Array, pairs: PairTable): number[] {
  const GONE = -1
  const symbols = Int32Array.from(bytes)
  const next = Int32Array.from(symbols, (_, at) => at + 1)
  const previous = Int32Array.from(symbols, (_, at) => at - 1)
  // A candidate merge as one number: its id, then its position; lower goes first. Ids fit 16 bits, so it is exact.
  const SHIFT = 2 ** 32
  const candidates = new Heap<number>((a, b) => a < b)
  const idAt = (at: number): number => {
    const [left, right] = [symbols[at], symbols[next[at] ?? -1]]
    return left === undefined || right === undefined ? NO_MERGE : pairs.get(left, right)
  }
  const propose = (at: number) => {
    const id = idAt(at)
    if (id !== NO_MERGE) candidates.push(id * SHIFT + at)
  }
  for (let at = 0; at < symbols.length; at++) propose(at)
  for (let best = candidates.pop(); best !== undefined; best = candidates.pop()) {
    const [id, at] = [Math.floor(best / SHIFT), best % SHIFT]
    if (symbols[at] === GONE || idAt(at) !== id) continue
    const other = next[at] as number // idAt found a symbol there
    const after = next[other] as number
    symbols[at] = id
    symbols[other] = GONE
    next[at] = after
    if (after < symbols.length) previous[after] = at
    propose(previous[at] as number)
    propose(at)
  }
  return Array.from(symbols.filter((id) => id !== GONE))
}
