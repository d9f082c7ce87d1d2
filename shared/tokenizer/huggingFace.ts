/** A tokenizer as Hugging Face's tokenizer.json: the same ids for the same text. Tokens are written in GPT-2's alphabet. */
import type { Tokenizer } from './tokenizer.ts'

const END_OF_TEXT = '<|endoftext|>'

export function tokenizerToHuggingFace(tokenizer: Tokenizer) {
  const { merges, endOfText } = tokenizer
  const tokens = Array.from({ length: endOfText }, (_, id) =>
    Array.from(tokenizer.decodeBytes([id]), (byte) => ALPHABET[byte]).join(''),
  )
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }
  const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false }
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [{ id: endOfText, content: END_OF_TEXT, ...plain, special: true }],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries([...tokens.map((token, id) => [token, id]), [END_OF_TEXT, endOfText]]),
      merges: merges.map(([left, right]) => [tokens[left], tokens[right]]),
    },
  }
}

/** GPT-2's: bytes that print stand for themselves, the others, in order, for the characters from U+0100 on. */
const ALPHABET: readonly string[] = alphabet()

function alphabet(): string[] {
  const prints = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff)
  let next = 0x100
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(prints(byte) ? byte : next++))
}
