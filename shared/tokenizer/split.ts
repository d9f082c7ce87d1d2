/**
 * Where merges may not cross: GPT-2's split of text into words, and the split of arbitrary bytes into valid
 * UTF-8 and the rest. Not the merging itself: see train.ts and tokenizer.ts.
 */

/**
 * GPT-2's pattern. `\s` is written as the Unicode property White_Space, which is what Rust, Oniguruma and
 * llama.cpp mean by it; JavaScript's own `\s` takes U+FEFF in and leaves U+0085 out.
 */
const GPT2_WORD =
  /'(?:[stmd]|re|ve|ll)| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu

/** UTF-16 units matched at once. V8's backtracking stack grows with a match: 16 million astral letters overflow it. */
const PIECE = 1 << 20

/** The words of `text` in order; joined they are `text` again. Words end at every 2^20 UTF-16 units. */
export function* words(text: string): Generator<string> {
  for (let start = 0; start < text.length; ) {
    let end = Math.min(start + PIECE, text.length)
    if (end < text.length && isLowSurrogate(text.charCodeAt(end))) end--
    const piece = start === 0 && end === text.length ? text : text.slice(start, end)
    for (const match of piece.matchAll(GPT2_WORD)) yield match[0]
    start = end
  }
}

function isLowSurrogate(unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff
}

/** Part of a byte string: valid UTF-8 throughout, or bytes none of which begins a valid character. */
export interface Utf8Run {
  readonly valid: boolean
  readonly bytes: Uint8Array
}

/** Cuts `bytes` into runs that alternate between valid UTF-8 and not; joined they are `bytes` again. */
export function* utf8Runs(bytes: Uint8Array): Generator<Utf8Run> {
  let start = 0
  let valid = true
  for (let at = 0; at < bytes.length; ) {
    const length = characterLength(bytes, at)
    if (length > 0 !== valid) {
      if (at > start) yield { valid, bytes: bytes.subarray(start, at) }
      start = at
      valid = !valid
    }
    at += Math.max(length, 1)
  }
  if (bytes.length > start) yield { valid, bytes: bytes.subarray(start) }
}

/** Bytes of the well-formed UTF-8 character that begins at `at`, or 0: the Unicode Standard's table 3-7. */
function characterLength(bytes: Uint8Array, at: number): number {
  const first = bytes[at] ?? 0
  if (first < 0x80) return 1
  if (first >= 0xc2 && first <= 0xdf) return continues(bytes, at + 1, 1) ? 2 : 0
  const second = bytes[at + 1] ?? 0
  if (first >= 0xe0 && first <= 0xef) {
    const [low, high] = first === 0xe0 ? [0xa0, 0xbf] : first === 0xed ? [0x80, 0x9f] : [0x80, 0xbf]
    return second >= low && second <= high && continues(bytes, at + 2, 1) ? 3 : 0
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const [low, high] = first === 0xf0 ? [0x90, 0xbf] : first === 0xf4 ? [0x80, 0x8f] : [0x80, 0xbf]
    return second >= low && second <= high && continues(bytes, at + 2, 2) ? 4 : 0
  }
  return 0
}

function continues(bytes: Uint8Array, from: number, count: number): boolean {
  for (let i = from; i < from + count; i++) if (((bytes[i] ?? 0) & 0xc0) !== 0x80) return false
  return true
}
