/**
 * A tokenizer as Hugging Face's tokenizer.json, out and in: the same tokens for the same text. Tokens are written in
 * GPT-2's alphabet. Ours gives bytes the ids 0 to 255 in their natural order and others do not, so what comes in brings
 * along which id of its own is which of ours.
 */
import { z } from 'zod'
import { PotluckError } from '../protocol/errors.ts'
import { Tokenizer } from './tokenizer.ts'
import { BYTE_IDS, MAX_VOCAB, type Merge } from './vocabulary.ts'

const END_OF_TEXT = '<|endoftext|>'
/** Bytes of a tokenizer.json that is read; GPT-2's has 1.4 MB, the largest in use about 35. */
export const MAX_TOKENIZER_JSON_BYTES = 40 * 1024 * 1024

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
const byteLevelSchema = z.object({
  type: z.literal('ByteLevel', 'it must split text as GPT-2 does: a ByteLevel pre-tokenizer'),
  add_prefix_space: z.literal(false, 'add_prefix_space is not supported').optional(),
  use_regex: z.literal(true, 'its own split is not supported').default(true),
})
const tokenId = z
  .number()
  .int()
  .min(0)
  .max(MAX_VOCAB - 1, 'more than 65,536 ids do not fit')
const pairSchema = z.union([
  z.tuple([z.string(), z.string()]),
  z
    .string()
    .transform((text) => text.split(' '))
    .pipe(z.tuple([z.string(), z.string()])),
])
/** Of the many fields, those that decide about ids. */
const fileSchema = z.object({
  added_tokens: z.array(z.object({ id: tokenId, content: z.string() })).default([]),
  normalizer: z.null('text that is changed before it is split is not supported').default(null),
  pre_tokenizer: z.union(
    [byteLevelSchema, z.object({ type: z.literal('Sequence'), pretokenizers: z.tuple([byteLevelSchema]) })],
    'it must split text as GPT-2 does: a ByteLevel pre-tokenizer with its regex and no prefix space',
  ),
  model: z.object({
    type: z.literal('BPE', 'only BPE is supported').default('BPE'),
    continuing_subword_prefix: z.union([z.null(), z.literal('')]).default(null),
    end_of_word_suffix: z.union([z.null(), z.literal('')]).default(null),
    ignore_merges: z.literal(false).default(false),
    vocab: z.record(z.string(), tokenId),
    merges: z.array(pairSchema).max(MAX_VOCAB),
  }),
})

export interface ForeignTokenizer {
  readonly tokenizer: Tokenizer
  /** Ours for every id of the file; -1 where the file has none. */
  readonly ids: Int32Array
}

/**
 * Reads the bytes of a tokenizer.json of byte-level BPE with GPT-2's split of words.
 * @param vocabSize of the tokenizer that comes of it; as many as the file's ids when left out.
 * @throws PotluckError `bad-blob` for anything else, saying what stands in the way.
 */
export function tokenizerFromHuggingFace(bytes: Uint8Array, vocabSize?: number): ForeignTokenizer {
  const parsed = fileSchema.safeParse(parseJSON(bytes))
  if (!parsed.success) throw unfit(z.prettifyError(parsed.error))
  const { model, added_tokens: added } = parsed.data
  const vocab = new Map(Object.entries(model.vocab))
  const highest = Math.max(maximum(vocab.values()), maximum(added.map(({ id }) => id)))
  const ids = new Int32Array(highest + 1).fill(-1)
  const ours = new Map<string, number>()
  const place = (name: string, id: number) => {
    const theirs = vocab.get(name)
    if (theirs === undefined) throw unfit(`the token ${JSON.stringify(name)} is not in its vocabulary`)
    if (ids[theirs] !== -1) throw unfit(`two tokens have the id ${theirs}`)
    ids[theirs] = id
    ours.set(name, id)
  }
  for (const [byte, name] of ALPHABET.entries()) place(name, byte)
  const merges = model.merges.map(([left, right], index): Merge => {
    const pair = [left, right].map((name) => ours.get(name))
    if (pair[0] === undefined || pair[1] === undefined)
      throw unfit(`merge ${index} joins a token that no merge before it makes`)
    place(left + right, BYTE_IDS + index)
    return [pair[0], pair[1]]
  })
  let next = BYTE_IDS + merges.length
  for (const { id } of endOfTextFirst(added)) {
    if (ids[id] !== -1) continue
    ids[id] = next
    next += 1
  }
  const lost = [...vocab].find(([, id]) => ids[id] === -1)
  if (lost) throw unfit(`the token ${JSON.stringify(lost[0])} is made by no merge`)
  return { tokenizer: new Tokenizer(merges, vocabSize ?? Math.max(next, BYTE_IDS + merges.length + 1)), ids }
}

const maximum = (values: Iterable<number>): number => {
  let most = 0
  for (const value of values) most = Math.max(most, value)
  return most
}

/** The first added token takes the place of end-of-text; the others the ids after it. */
function endOfTextFirst<T extends { readonly content: string }>(added: readonly T[]): readonly T[] {
  const isEnd = ({ content }: T) => content === END_OF_TEXT
  return [...added.filter(isEnd), ...added.filter((token) => !isEnd(token))]
}

function parseJSON(bytes: Uint8Array): unknown {
  if (bytes.length > MAX_TOKENIZER_JSON_BYTES)
    throw unfit(`it has ${bytes.length} bytes; ${MAX_TOKENIZER_JSON_BYTES} is the most`)
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw unfit('it is not JSON in UTF-8')
  }
}

function unfit(what: string): PotluckError {
  return new PotluckError('bad-blob', `The tokenizer.json cannot be used: ${what.slice(0, 500)}.`)
}
