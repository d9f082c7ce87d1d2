/**
 * Byte-level BPE: text to ids and back. Every byte string has ids, and they give back exactly those bytes. Not the
 * trainer (train.ts) and not the stored form (json.ts). The ids' meaning is in vocabulary.ts.
 */
import { PotluckError } from '../protocol/errors.ts'
import { WordMerger } from './merge.ts'
import { utf8Runs, words } from './split.ts'
import { BYTE_IDS, MAX_TOKEN_BYTES, type Merge, requireVocabSize } from './vocabulary.ts'

/** The word cache is emptied when it holds this many words. */
const CACHED_WORDS = 1 << 16
/** Longer words are rare and not cached (UTF-16 units). */
const CACHED_WORD_LENGTH = 32
/** V8 makes a slice of this many units a window on its text, which keeps the whole text in memory. */
const WINDOW = 13

export class Tokenizer {
  /** Ids of a model that it goes with; those after end-of-text are not in use. */
  readonly vocabSize: number
  /** Stands between documents; the last id in use. */
  readonly endOfText: number
  readonly #merges: readonly Merge[]
  readonly #merger: WordMerger
  /** The bytes of all tokens end to end; token i is offsets[i] to offsets[i + 1]. */
  readonly #bytes: Uint8Array
  readonly #offsets: Uint32Array
  readonly #cache = new Map<string, readonly number[]>()
  readonly #encoder = new TextEncoder()
  /** UTF-8 of a word that is cached. */
  readonly #utf8 = new Uint8Array(3 * CACHED_WORD_LENGTH)
  /** What is being encoded; grows. */
  #ids = new Uint16Array(1 << 12)
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true })

  /**
   * @param merges the pairs in the order they were learned; the first makes id 256.
   * @param vocabSize no less than the ids in use, which it is when left out.
   * @throws PotluckError `bad-config` for more than 65,279 merges, `bad-blob` for merges that no training makes.
   */
  constructor(merges: readonly Merge[], vocabSize = BYTE_IDS + merges.length + 1) {
    this.endOfText = BYTE_IDS + merges.length
    requireVocabSize(this.endOfText + 1)
    requireVocabSize(vocabSize)
    if (vocabSize <= this.endOfText)
      throw corrupt(`${vocabSize} ids have no room for ${merges.length} merges`)
    this.vocabSize = vocabSize
    this.#merges = merges.map(([left, right]) => [left, right])
    this.#offsets = tokenOffsets(this.#merges)
    this.#bytes = tokenBytes(this.#merges, this.#offsets)
    this.#merger = new WordMerger(this.#merges)
    requireUnlike(this.#bytes, this.#offsets)
  }

  /**
   * Ids of `text` as UTF-8. A lone surrogate becomes U+FFFD, as everywhere on the web; all other text comes back
   * exactly. Text that looks like an end-of-text marker is text.
   */
  encode(text: string): Uint16Array<ArrayBuffer> {
    const count = this.#encodeInto(0, text)
    return this.#ids.slice(0, count)
  }

  /**
   * Ids of any bytes. Parts that are valid UTF-8 are encoded as that text; a byte that belongs to no valid
   * character is its own id and takes part in no merge.
   */
  encodeBytes(bytes: Uint8Array): Uint16Array<ArrayBuffer> {
    let count = 0
    for (const run of utf8Runs(bytes)) {
      if (run.valid) count = this.#encodeInto(count, this.#decoder.decode(run.bytes))
      else count = this.#append(count, run.bytes)
    }
    return this.#ids.slice(0, count)
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

  /** Bytes that `id` stands for; 0 for end-of-text and ids not in use. @throws PotluckError `bad-request` for an id outside the vocabulary. */
  byteLength(id: number): number {
    return this.#tokenBytes(id).length
  }

  /** The merges as pairs, for json.ts. */
  get merges(): readonly Merge[] {
    return this.#merges
  }

  #tokenBytes(id: number): Uint8Array {
    if (Number.isInteger(id) && id >= this.endOfText && id < this.vocabSize) return this.#bytes.subarray(0, 0)
    if (Number.isInteger(id) && id >= 0 && id < this.endOfText) {
      return this.#bytes.subarray(this.#offsets[id], this.#offsets[id + 1])
    }
    throw new PotluckError('bad-request', `${id} is no id of a vocabulary of ${this.vocabSize}.`)
  }

  /** Encodes to `#ids` from `count` on, and returns where it ends. */
  #encodeInto(count: number, text: string): number {
    for (const word of words(text)) count = this.#append(count, this.#encodeWord(word))
    return count
  }

  #append(count: number, ids: ArrayLike<number>): number {
    const end = count + ids.length
    if (end > this.#ids.length) {
      const grown = new Uint16Array(Math.max(end, 2 * this.#ids.length))
      grown.set(this.#ids)
      this.#ids = grown
    }
    for (let i = 0; i < ids.length; i++) this.#ids[count + i] = ids[i] as number
    return end
  }

  #encodeWord(word: string): readonly number[] {
    if (word.length > CACHED_WORD_LENGTH) return this.#merger.merge(this.#encoder.encode(word))
    const cached = this.#cache.get(word)
    if (cached !== undefined) return cached
    const { written } = this.#encoder.encodeInto(word, this.#utf8)
    const ids = this.#merger.merge(this.#utf8.subarray(0, written))
    if (this.#cache.size >= CACHED_WORDS) this.#cache.clear()
    this.#cache.set(word.length < WINDOW ? word : copyOf(word), ids)
    return ids
  }
}

const copyOf = (word: string): string =>
  String.fromCharCode(...Array.from({ length: word.length }, (_, i) => word.charCodeAt(i)))

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
