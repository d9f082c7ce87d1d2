/** Which reader reads a file: by its name. */
import { PotluckError } from '../../../shared/protocol/errors.ts'
import type { Item, Source } from './item.ts'
import { readJsonLines } from './jsonLines.ts'
import { readParquet } from './parquet.ts'
import { unzipped } from './source.ts'
import { readText } from './text.ts'
import { readTokens, type TokenFormat } from './tokens.ts'

export interface ReadOptions {
  /** Between documents of plain text. */
  readonly separator: string
  /** That holds the text, in JSON Lines and Parquet. */
  readonly field: string
  /** Of files of tokens. */
  readonly tokens: TokenFormat | null
}

export const FORMATS = ['text', 'json-lines', 'parquet', 'tokens'] as const
export type Format = (typeof FORMATS)[number]

const ENDINGS: Record<string, Format> = {
  '.txt': 'text',
  '.jsonl': 'json-lines',
  '.ndjson': 'json-lines',
  '.json': 'json-lines',
  '.parquet': 'parquet',
  '.bin': 'tokens',
}

/** Null for a name of no known ending. Text and JSON Lines may be gzipped. */
export function formatOf(name: string): { readonly format: Format; readonly gzip: boolean } | null {
  const lower = name.toLowerCase()
  const gzip = lower.endsWith('.gz')
  const ending = Object.keys(ENDINGS).find((one) => lower.endsWith(gzip ? `${one}.gz` : one))
  const format = ending === undefined ? undefined : ENDINGS[ending]
  if (format === undefined || (gzip && (format === 'parquet' || format === 'tokens'))) return null
  return { format, gzip }
}

/** The file's documents, a few at a time. @throws ReaderError; PotluckError `bad-request` for what no reader reads. */
export function readDocuments(source: Source, options: ReadOptions): AsyncGenerator<Item[]> {
  const known = formatOf(source.name)
  if (known === null)
    throw new PotluckError(
      'bad-request',
      `Nobody knows how to read ${source.name}: its name must end with ${Object.keys(ENDINGS).join(', ')}, or .txt.gz or .jsonl.gz.`,
    )
  const { name } = source
  const chunks = () => (known.gzip ? unzipped(source) : source.stream())
  switch (known.format) {
    case 'text':
      return readText(chunks(), { name, separator: options.separator })
    case 'json-lines':
      return readJsonLines(chunks(), { name, field: options.field })
    case 'parquet':
      return readParquet(source, { field: options.field })
    case 'tokens':
      if (options.tokens === null)
        throw new PotluckError(
          'bad-request',
          `${name} holds tokens, which mean nothing without their tokenizer: give its tokenizer.json with --tokenizer.`,
        )
      return readTokens(source, options.tokens)
    default:
      return known.format satisfies never
  }
}
