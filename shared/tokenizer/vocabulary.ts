/**
 * What an id means: the numbers and limits every part of the tokenizer shares. Not how text becomes ids.
 *
 *   0 .. 255               the byte of that value
 *   256 .. 255 + merges    the merges, in the order they were learned: the lower id is applied first
 *   256 + merges           end-of-text, which stands between documents and for no bytes
 *   .. vocabSize - 1       not in use: room for special tokens, and a round number for the model's embedding
 *
 * Bytes are in their natural order, not in that of GPT-2's printable alphabet (which starts at `!`). Both kinds
 * of tokenizer.json, ours and GPT-2's, map strings to ids explicitly, so an export only has to rename each token
 * byte by byte; and no table stands between a byte and its id here. Every token's bytes are unlike every
 * other's, because such a file is keyed by them.
 */
import { PotluckError } from '../protocol/errors.ts'

export const BYTE_IDS = 256
/** All bytes and end-of-text. */
export const MIN_VOCAB = BYTE_IDS + 1
/** Ids are stored as uint16. */
export const MAX_VOCAB = 65_536
/** Bytes one token may stand for, so that a small file cannot describe a vast vocabulary. GPT-2's longest is 128. */
export const MAX_TOKEN_BYTES = 256

/** The two ids a merge joins; its own id follows from its place. */
export type Merge = readonly [left: number, right: number]

/** One number for an ordered pair of ids below 65,536, below 2^32. */
export function pairKey(left: number, right: number): number {
  return left * MAX_VOCAB + right
}

/** @throws PotluckError `bad-config` unless `vocabSize` is a whole number from 257 to 65,536. */
export function requireVocabSize(vocabSize: number): void {
  if (Number.isInteger(vocabSize) && vocabSize >= MIN_VOCAB && vocabSize <= MAX_VOCAB) return
  throw new PotluckError(
    'bad-config',
    `A vocabulary has ${MIN_VOCAB} to ${MAX_VOCAB} ids: 256 bytes, merges, end-of-text. ${vocabSize} is not possible.`,
  )
}
