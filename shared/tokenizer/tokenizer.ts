/**
 * Byte-level BPE: text to ids and back. Every byte string has ids, and they give back exactly those bytes. Not the
 * trainer (train.ts) and not the stored form (json.ts). The ids' meaning is in vocabulary.ts.
 */
import { PotluckError } from '../protocol/errors.ts'
import { Heap } from './heap.ts'
import { utf8Runs, words } from './split.ts'
import { BYTE_IDS, MAX_TOKEN_BYTES, type Merge, pairKey, requireVocabSize } from './vocabulary.ts'

/** The word cache is emptied when it holds this many words. */
const CACHED_WORDS = 1 << 16
/** Longer words are rare and not cached (UTF-16 units). */
const CACHED_WORD_LENGTH = 32

export class Tokenizer {
  readonly vocabSize: number
  /** Stands between documents; the last id. */
  readonly endOfText: number
  readonly #merges: readonly Merge[]
  /** Id of the merge that joins a pair of ids. */
  readonly #joined = new Map<number, number>()
  /** The bytes of all tokens end to end; token i is offsets[i] to offsets[i + 1]. */
  readonly #bytes: Uint8Array
  readonly #offsets: Uint32Array
  readonly #cache = new Map<string, readonly number[]>()
  readonly #encoder = new TextEncoder()
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true })

  /**
   * @param merges the pairs in the order they were learned; the first makes id 256.
   * @throws PotluckError `bad-config` for more than 65,279 merges, `bad-blob` for merges that no training makes.
   */
  constructor(merges: readonly Merge[]) {
    this.vocabSize = BYTE_IDS + merges.length + 1
    requireVocabSize(this.vocabSize)
    this.endOfText = this.vocabSize - 1
    this.#merges = merges.map(([left, right]) => [left, right])
    this.#offsets = tokenOffsets(this.#merges)
    this.#bytes = tokenBytes(this.#merges, this.#offsets)
    this.#merges.forEach(([left, right], index) => {
      this.#joined.set(pairKey(left, right), BYTE_IDS + index)
    })
    requireUnlike(this.#bytes, this.#offsets)
  }

  /**
   * Ids of `text` as UTF-8. A lone surrogate becomes U+FFFD, as everywhere on the web; all other text comes back
   * exactly. Text that looks like an end-of-text marker is text.
   */
  encode(text: string): Uint16Array<ArrayBuffer> {
    const ids: number[] = []
    this.#encodeInto(ids, text)
    return Uint16Array.from(ids)
  }

  /**
   * Ids of any bytes. Parts that are valid UTF-8 are encoded as that text; a byte that belongs to no valid
   * character is its own id and takes part in no merge.
   */
  encodeBytes(bytes: Uint8Array): Uint16Array<ArrayBuffer> {
    const ids: number[] = []
    for (const run of utf8Runs(bytes)) {
      if (run.valid) this.#encodeInto(ids, this.#decoder.decode(run.bytes))
      else for (const byte of run.bytes) ids.push(byte)
    }
    return Uint16Array.from(ids)
  }

  /** The text of `ids`. Bytes that are no valid UTF-8, such as half a character, become U+FFFD. */
  decode(ids: Iterable<number>): string {
    return this.#decoder.decode(this.decodeBytes(ids))
  }

  /** The bytes of `ids`, exactly. @throws PotluckError `bad-request` for an id outside the vocabulary. */
  decodeBytes(ids: Iterable<number>): Uint8Array<ArrayBuffer> {
    const list = Array.from(ids)
    const bytes = new Uint8Array(list.reduce((sum, id) => sum + this.byteLength(id), 0))
    let end = 0
    for (const id of list) {
      const token = this.#tokenBytes(id)
      bytes.set(token, end)
      end += token.length
    }
    return bytes
  }

  /** Bytes that `id` stands for; 0 for end-of-text. @throws PotluckError `bad-request` for an id outside the vocabulary. */
  byteLength(id: number): number {
    return this.#tokenBytes(id).length
  }

  /** The merges as pairs, for json.ts. */
  get merges(): readonly Merge[] {
    return this.#merges
  }

  #tokenBytes(id: number): Uint8Array {
    if (id === this.endOfText) return this.#bytes.subarray(0, 0)
    if (Number.isInteger(id) && id >= 0 && id < this.endOfText) {
      return this.#bytes.subarray(this.#offsets[id], this.#offsets[id + 1])
    }
    throw new PotluckError('bad-request', `${id} is no id of a vocabulary of ${this.vocabSize}.`)
  }

  #encodeInto(ids: number[], text: string): void {
    for (const word of words(text)) for (const id of this.#encodeWord(word)) ids.push(id)
  }

  #encodeWord(word: string): readonly number[] {
    if (word.length > CACHED_WORD_LENGTH) return mergeWord(this.#encoder.encode(word), this.#joined)
    const cached = this.#cache.get(word)
    if (cached !== undefined) return cached
    const ids = mergeWord(this.#encoder.encode(word), this.#joined)
    if (this.#cache.size >= CACHED_WORDS) this.#cache.clear()
    this.#cache.set(word, ids)
    return ids
  }
}

/**
 * Applies the merges to one word: always the earliest learned, of those the leftmost. n log n in the word's length,
 * so that no word is too long.
 */
function mergeWord(bytes: Uint8Array, joined: ReadonlyMap<number, number>): number[] {
  const symbols = Array.from(bytes)
  const next = symbols.map((_, at) => at + 1)
  const previous = symbols.map((_, at) => at - 1)
  // A candidate merge as one number: its id, then its position; lower goes first. Ids fit 16 bits, so it is exact.
  const SHIFT = 2 ** 32
  const candidates = new Heap<number>((a, b) => a < b)
  const idAt = (at: number): number | undefined => {
    const [left, right] = [symbols[at], symbols[next[at] ?? -1]]
    return left === undefined || right === undefined ? undefined : joined.get(pairKey(left, right))
  }
  const propose = (at: number) => {
    const id = idAt(at)
    if (id !== undefined) candidates.push(id * SHIFT + at)
  }
  symbols.forEach((_, at) => {
    propose(at)
  })
  const GONE = -1
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
  return symbols.filter((id) => id !== GONE)
}

/** Where each token's bytes begin, and one entry more for the end. */
function tokenOffsets(merges: readonly Merge[]): Uint32Array {
  const offsets = new Uint32Array(BYTE_IDS + merges.length + 1)
  const lengthOf = (id: number) => (offsets[id + 1] ?? 0) - (offsets[id] ?? 0)
  for (let id = 0; id < BYTE_IDS; id++) offsets[id + 1] = id + 1
  merges.forEach(([left, right], index) => {
    const id = BYTE_IDS + index
    if (!isIdBelow(left, id) || !isIdBelow(right, id)) {
      throw corrupt(`merge ${index} joins ${left} and ${right}, but only ids below ${id} exist by then`)
    }
    const length = lengthOf(left) + lengthOf(right)
    if (length > MAX_TOKEN_BYTES)
      throw corrupt(`token ${id} has ${length} bytes; ${MAX_TOKEN_BYTES} is the most`)
    offsets[id + 1] = (offsets[id] ?? 0) + length
  })
  return offsets
}

function isIdBelow(id: number, bound: number): boolean {
  return Number.isInteger(id) && id >= 0 && id < bound
}

function tokenBytes(merges: readonly Merge[], offsets: Uint32Array): Uint8Array {
  const bytes = new Uint8Array(offsets[offsets.length - 1] ?? 0)
  for (let byte = 0; byte < BYTE_IDS; byte++) bytes[byte] = byte
  merges.forEach(([left, right], index) => {
    const start = offsets[BYTE_IDS + index] ?? 0
    const middle = start + (offsets[left + 1] ?? 0) - (offsets[left] ?? 0)
    bytes.copyWithin(start, offsets[left] ?? 0, offsets[left + 1])
    bytes.copyWithin(middle, offsets[right] ?? 0, offsets[right + 1])
  })
  return bytes
}

function requireUnlike(bytes: Uint8Array, offsets: Uint32Array): void {
  const seen = new Map<string, number>()
  for (let id = 0; id + 1 < offsets.length; id++) {
    const name = String.fromCharCode(...bytes.subarray(offsets[id], offsets[id + 1]))
    const twin = seen.get(name)
    if (twin !== undefined) throw corrupt(`tokens ${twin} and ${id} stand for the same bytes`)
    seen.set(name, id)
  }
}

function corrupt(what: string): PotluckError {
  return new PotluckError('bad-blob', `The tokenizer is corrupt: ${what}.`)
}
