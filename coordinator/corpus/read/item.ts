/**
 * What every reader of this folder is: bytes of one file in, documents out, a few at a time, holding no more than LIMITS
 * says whatever the file holds. What is wrong with one line is a `broken` item and the next line is read; what is wrong
 * with the file is a ReaderError.
 */
import { PotluckError } from '../../../shared/protocol/errors.ts'

export type Item =
  | { readonly kind: 'text'; readonly text: string }
  /** Already tokens: ids of our tokenizer. */
  | { readonly kind: 'ids'; readonly ids: Uint16Array }
  /** Left out; `place` within the file, such as `line 7`. */
  | { readonly kind: 'broken'; readonly place: string; readonly why: string }

/** A file to read. `stream` and `slice` may be called again and again. */
export interface Source {
  /** For error messages. */
  readonly name: string
  /** Bytes, as they lie there: compressed ones where it is compressed. */
  readonly size: number
  stream(): AsyncIterable<Uint8Array>
  slice(start: number, end?: number): Promise<ArrayBuffer>
}

/** Bytes and UTF-16 units. */
export const READER_LIMITS = {
  /** A longer line is broken. */
  line: 16 * 1024 * 1024,
  /** A longer document is cut into several. */
  document: 1024 * 1024,
  /** Tokens; the same for documents that are tokens. */
  documentIds: 256 * 1024,
  /** Of one page of a column of Parquet, unpacked: it is read at once. */
  page: 64 * 1024 * 1024,
  /** Of Parquet's description of itself. */
  footer: 32 * 1024 * 1024,
} as const

/** A file that cannot be read on. */
export class ReaderError extends PotluckError {
  constructor(
    readonly file: string,
    /** Within the file, such as `row group 2`. */
    readonly place: string,
    readonly why: string,
  ) {
    super('bad-corpus', `${file}, ${place}: ${why}.`)
  }
}

/** The text of bytes in pieces of at most `READER_LIMITS.document` bytes, cut where a line or a word ends. */
export function* piecesOf(bytes: Buffer): Generator<Buffer> {
  const most = READER_LIMITS.document
  let start = 0
  while (bytes.length - start > most) {
    const end = start + cutWithin(bytes.subarray(start, start + most))
    yield bytes.subarray(start, end)
    start = end
  }
  yield bytes.subarray(start)
}

/** Bytes until the last line's end, or word's, or character's. */
export function cutWithin(bytes: Buffer): number {
  for (const mark of [0x0a, 0x20]) {
    const at = bytes.lastIndexOf(mark)
    if (at > bytes.length / 2) return at + 1
  }
  let end = bytes.length
  while (end > bytes.length - 4 && ((bytes[end - 1] ?? 0) & 0xc0) === 0x80) end-- // halves of a character
  return end > 1 ? end - 1 : bytes.length
}
