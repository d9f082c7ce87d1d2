/**
 * A tokenizer as it is stored: `{"format":"potluck-bpe","version":1,"merges":[[l,r],…]}` in UTF-8, with `vocabSize` when
 * there are more ids than are in use. All else follows from the merges. Not Hugging Face's tokenizer.json.
 */
import { z } from 'zod'
import { PotluckError } from '../protocol/errors.ts'
import { Tokenizer } from './tokenizer.ts'
import { MAX_VOCAB, MIN_VOCAB } from './vocabulary.ts'

/** Bytes of a stored tokenizer: 65,279 merges of at most 14 characters, and the words around them. */
export const MAX_TOKENIZER_BYTES = 1024 * 1024

const id = z
  .number()
  .int()
  .min(0)
  .max(MAX_VOCAB - 2)
const storedSchema = z.strictObject({
  format: z.literal('potluck-bpe'),
  version: z.literal(1),
  merges: z.array(z.tuple([id, id])).max(MAX_VOCAB - MIN_VOCAB),
  vocabSize: z.number().int().min(MIN_VOCAB).max(MAX_VOCAB).optional(),
})
export type StoredTokenizer = z.infer<typeof storedSchema>

export function tokenizerToJSON(tokenizer: Tokenizer): StoredTokenizer {
  const merges = tokenizer.merges.map(([left, right]): [number, number] => [left, right])
  const { vocabSize, endOfText } = tokenizer
  const padded = vocabSize > endOfText + 1 ? { vocabSize } : {}
  return { format: 'potluck-bpe', version: 1, merges, ...padded }
}

/** The bytes of the tokenizer's blob; the same tokenizer always has the same. */
export function tokenizerToBytes(tokenizer: Tokenizer): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(tokenizerToJSON(tokenizer)))
}

/**
 * Reads a tokenizer's bytes, or the object they hold.
 * @throws PotluckError `bad-blob` for anything that is not exactly a stored tokenizer.
 */
export function tokenizerFromJSON(stored: unknown): Tokenizer {
  const parsed = storedSchema.safeParse(stored instanceof Uint8Array ? parseBytes(stored) : stored)
  if (!parsed.success) throw corrupt(z.prettifyError(parsed.error))
  return new Tokenizer(parsed.data.merges, parsed.data.vocabSize)
}

function parseBytes(bytes: Uint8Array): unknown {
  if (bytes.length > MAX_TOKENIZER_BYTES) {
    throw corrupt(`it has ${bytes.length} bytes; ${MAX_TOKENIZER_BYTES} is the most`)
  }
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw corrupt('it is not JSON in UTF-8')
  }
}

function corrupt(what: string): PotluckError {
  return new PotluckError('bad-blob', `The tokenizer is corrupt: ${what.slice(0, 500)}`)
}
