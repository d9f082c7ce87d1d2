/**
 * Learns merges from text: byte-pair encoding (Sennrich et al., arXiv 1508.07909) over bytes. Each step joins the
 * adjacent pair seen most often; pair counts are kept up to date instead of being counted again, and a heap whose
 * entries may be out of date finds the next pair. Not the encoder: see tokenizer.ts.
 */
import { PotluckError } from '../protocol/errors.ts'
import { Heap } from './heap.ts'
import { words } from './split.ts'
import { Tokenizer } from './tokenizer.ts'
import { BYTE_IDS, MAX_TOKEN_BYTES, type Merge, MIN_VOCAB, pairKey, requireVocabSize } from './vocabulary.ts'

/** Which of two equally frequent pairs goes first. `bytesOf` gives a token's bytes as a string of U+0000 to U+00FF. */
export type TieRule = (a: Merge, b: Merge, bytesOf: (id: number) => string) => boolean

/** Ours: the lower left id, then the lower right id. */
export const lowestIds = (a: Merge, b: Merge): boolean => (a[0] === b[0] ? a[1] < b[1] : a[0] < b[0])

/** An adjacent pair of ids in the corpus. */
interface Pair {
  readonly ids: Merge
  /** Occurrences now, each word weighted by how often the corpus has it. */
  count: number
  /** Count when it was last put in the heap; never below `count`. */
  queued: number
  /** Where it occurred when it came into being, ascending; some may be gone. */
  readonly positions: number[]
}

/**
 * Every distinct word once, laid end to end as linked lists of symbols. A merge keeps the left symbol's
 * position and unlinks the right one's.
 */
interface Words {
  /** Id at each position; GONE once merged into its left neighbour. */
  readonly symbols: Int32Array
  /** Position of the neighbour in the same word, or NONE. */
  readonly previous: Int32Array
  readonly next: Int32Array
  /** Times the corpus has the word that a position belongs to. */
  readonly weight: Float64Array
}
const GONE = -1
const NONE = -1

/**
 * @param vocabSize 257 to 65,536.
 * @throws PotluckError `bad-config` for a size outside that, `bad-corpus` when the texts have too few pairs.
 */
export function trainTokenizer(texts: Iterable<string>, vocabSize: number): Tokenizer {
  requireVocabSize(vocabSize)
  return new Tokenizer(learnMerges(texts, vocabSize - MIN_VOCAB, lowestIds))
}

/** The first `count` merges. They depend on the words and their counts alone, not on the order of the texts. */
export function learnMerges(texts: Iterable<string>, count: number, tieRule: TieRule): Merge[] {
  const corpus = layOut(countWords(texts))
  const tokens = Array.from({ length: BYTE_IDS }, (_, byte) => String.fromCharCode(byte))
  const taken = new Set(tokens)
  const bytesOf = (id: number) => tokens[id] ?? ''
  const queue = new Heap<Pair>((a, b) =>
    a.queued === b.queued ? tieRule(a.ids, b.ids, bytesOf) : a.queued > b.queued,
  )
  const pairs = countPairs(corpus)
  for (const pair of pairs.values()) enqueue(queue, pair)

  const merges: Merge[] = []
  while (merges.length < count) {
    const pair = mostFrequent(queue)
    if (pair === undefined) throw tooSmall(merges.length)
    const joined = bytesOf(pair.ids[0]) + bytesOf(pair.ids[1])
    if (joined.length > MAX_TOKEN_BYTES || taken.has(joined)) continue
    merges.push(pair.ids)
    taken.add(joined)
    const id = tokens.push(joined) - 1
    for (const born of applyMerge(corpus, pairs, pair, id)) enqueue(queue, born)
  }
  return merges
}

function tooSmall(merges: number): PotluckError {
  const most = MIN_VOCAB + merges
  return new PotluckError(
    'bad-corpus',
    `The corpus has too little text for this vocabulary: it supports at most ${most} ids. Choose a smaller vocabulary or add text.`,
  )
}

function countWords(texts: Iterable<string>): Map<string, number> {
  const counts = new Map<string, number>()
  for (const text of texts) for (const word of words(text)) counts.set(word, (counts.get(word) ?? 0) + 1)
  return counts
}

function layOut(counts: ReadonlyMap<string, number>): Words {
  const encoder = new TextEncoder()
  const encoded = Array.from(counts, ([word, count]) => ({ bytes: encoder.encode(word), count }))
  const size = encoded.reduce((sum, word) => sum + word.bytes.length, 0)
  const symbols = new Int32Array(size)
  const previous = Int32Array.from({ length: size }, (_, at) => at - 1)
  const next = Int32Array.from({ length: size }, (_, at) => at + 1)
  const weight = new Float64Array(size)
  let start = 0
  for (const { bytes, count } of encoded) {
    const end = start + bytes.length
    symbols.set(bytes, start)
    weight.fill(count, start, end)
    previous[start] = NONE
    next[end - 1] = NONE
    start = end
  }
  return { symbols, previous, next, weight }
}

function countPairs(corpus: Words): Map<number, Pair> {
  const pairs = new Map<number, Pair>()
  for (let at = 0; at < corpus.symbols.length; at++) {
    const after = corpus.next[at] as number // at < size
    if (after !== NONE) addPair(corpus, pairs, at, after)
  }
  return pairs
}

/** Counts the pair of the symbols at two neighbouring positions, and returns it when it is new. */
function addPair(corpus: Words, pairs: Map<number, Pair>, at: number, after: number): Pair | undefined {
  const [left, right, weight] = [symbol(corpus, at), symbol(corpus, after), corpus.weight[at] as number]
  const key = pairKey(left, right)
  const known = pairs.get(key)
  if (known === undefined) {
    const born: Pair = { ids: [left, right], count: weight, queued: 0, positions: [at] }
    pairs.set(key, born)
    return born
  }
  known.count += weight
  known.positions.push(at)
  return undefined
}

function removePair(corpus: Words, pairs: Map<number, Pair>, at: number, after: number): void {
  const pair = pairs.get(pairKey(symbol(corpus, at), symbol(corpus, after)))
  if (pair !== undefined) pair.count -= corpus.weight[at] as number
}

/** Positions given here come from the linked lists, so they lie inside the corpus. */
function symbol(corpus: Words, at: number): number {
  return corpus.symbols[at] as number
}

/**
 * Joins every occurrence of `pair`, left to right, into `id`. Returns the pairs that came into being: each has `id`
 * in it, so a pair is never born twice and its count only falls afterwards.
 */
function applyMerge(corpus: Words, pairs: Map<number, Pair>, pair: Pair, id: number): Pair[] {
  const { symbols, previous, next } = corpus
  const [left, right] = pair.ids
  const born: Pair[] = []
  const add = (at: number, after: number) => {
    const fresh = addPair(corpus, pairs, at, after)
    if (fresh !== undefined) born.push(fresh)
  }
  for (const at of pair.positions) {
    const other = next[at] as number
    if (symbols[at] !== left || other === NONE || symbols[other] !== right) continue
    const [before, after] = [previous[at] as number, next[other] as number]
    if (before !== NONE) removePair(corpus, pairs, before, at)
    if (after !== NONE) removePair(corpus, pairs, other, after)
    symbols[at] = id
    symbols[other] = GONE
    next[at] = after
    if (after !== NONE) previous[after] = at
    if (before !== NONE) add(before, at)
    if (after !== NONE) add(at, after)
  }
  pairs.delete(pairKey(left, right))
  return born
}

function enqueue(queue: Heap<Pair>, pair: Pair): void {
  pair.queued = pair.count
  if (pair.count > 0) queue.push(pair)
}

/** Counts only fall, so an entry that is out of date stands too early: it goes back under its true count. */
function mostFrequent(queue: Heap<Pair>): Pair | undefined {
  for (let pair = queue.pop(); pair !== undefined; pair = queue.pop()) {
    if (pair.queued === pair.count) return pair
    enqueue(queue, pair)
  }
  return undefined
}
