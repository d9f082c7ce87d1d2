/**
 * Where merges may not cross: GPT-2's split of text into words, and the split of arbitrary bytes into valid
 * UTF-8 and the rest. Not the merging itself: see train.ts and tokenizer.ts.
 */

/**
 * GPT-2's pattern. `\s` is written as the Unicode property White_Space, which is what Rust, Oniguruma and
 * llama.cpp mean by it; JavaScript's own `\s` takes U+FEFF in and leaves U+0085 out.
 */
const GPT2_WORD =
  /'(?:[stmd]|re|ve|ll)| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/uy

/** UTF-16 units matched at once. V8's backtracking stack grows with a match: 16 million astral letters overflow it. */
const PIECE = 1 << 20

/** The words of `text` in order; joined they are `text` again. Words end at every 2^20 UTF-16 units. */
export function words(text: string): string[] {
  const found: string[] = []
  for (let start = 0; start < text.length; ) {
    let end = Math.min(start + PIECE, text.length)
    if (end < text.length && isLowSurrogate(text.charCodeAt(end))) end--
    const piece = start === 0 && end === text.length ? text : text.slice(start, end)
    for (let at = 0; at < piece.length; ) {
      const next = wordEnd(piece, at)
      found.push(piece.slice(at, next))
      at = next
    }
    start = end
  }
  return found
}

const [LETTER, DIGIT, SPACE, OTHER] = [1, 2, 3, 4]
const KINDS = Uint8Array.from({ length: 128 }, (_, unit) => {
  const character = String.fromCharCode(unit)
  if (/[A-Za-z]/.test(character)) return LETTER
  if (/[0-9]/.test(character)) return DIGIT
  return /\p{White_Space}/u.test(character) ? SPACE : OTHER
})
const [BLANK, APOSTROPHE] = [0x20, 0x27]

/** Where the word that begins at `start` ends. ASCII by hand, which is five times as fast as the pattern. */
function wordEnd(text: string, start: number): number {
  const { length } = text
  let at = start
  let unit = text.charCodeAt(at)
  if (unit === APOSTROPHE) {
    const contraction = contractionLength(text, at + 1)
    if (contraction > 0) return at + 1 + contraction
  }
  if (unit === BLANK && at + 1 < length) {
    const after = text.charCodeAt(at + 1)
    if (KINDS[after] !== SPACE) {
      unit = after
      at += 1
    }
  }
  if (unit >= 128) return patternEnd(text, start)
  const kind = KINDS[unit]
  do {
    at += 1
    if (at === length) return at
    unit = text.charCodeAt(at)
  } while (unit < 128 && KINDS[unit] === kind)
  if (unit >= 128) return patternEnd(text, start)
  return kind === SPACE && at - start > 1 ? at - 1 : at // the last blank of several goes with what follows
}

/** Units after an apostrophe that belong to it: s, t, m, d, re, ve, ll. */
function contractionLength(text: string, at: number): number {
  switch (text.charAt(at)) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return 1
    case 'r':
    case 'v':
      return text.charAt(at + 1) === 'e' ? 2 : 0
    case 'l':
      return text.charAt(at + 1) === 'l' ? 2 : 0
    default:
      return 0
  }
}

function patternEnd(text: string, start: number): number {
  GPT2_WORD.lastIndex = start
  GPT2_WORD.test(text) // it matches everywhere: every character is a letter, a number, a space or none of them
  return GPT2_WORD.lastIndex
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
