/**
 * The pages of one column of Parquet, checked and then read one after another, so that a row group of any size takes the
 * memory of a page. hyparquet takes lengths, counts and runs on trust: with wrong ones it goes round and round, or repeats
 * a value two thousand million times.
 */
import type { FileMetaData } from 'hyparquet'
import { parquetHeader, readPage } from 'hyparquet/src/column.js'
import { convert, DEFAULT_PARSERS } from 'hyparquet/src/convert.js'
import { decompressPage } from 'hyparquet/src/datapage.js'
import { parquetSchema } from 'hyparquet/src/metadata.js'
import { getTreePath } from 'hyparquet/src/schema.js'
import { compressors } from 'hyparquet-compressors'
import { READER_LIMITS, type Source } from './item.ts'

export type ColumnMetaData = NonNullable<FileMetaData['row_groups'][number]['columns'][number]['meta_data']>

type ColumnDecoder = Parameters<typeof readPage>[2]
type PageHeader = ReturnType<typeof parquetHeader>

export interface Column {
  readonly source: Source
  readonly metadata: FileMetaData
  readonly meta: ColumnMetaData
  /** Of its bytes in the file. */
  readonly start: number
  readonly end: number
  readonly rows: number
  /** Whether values may be null: then each has a definition level. */
  readonly optional: boolean
  readonly stringFromBytes: (bytes: Uint8Array | undefined) => unknown
}

/** A page's header is within so many bytes; with long texts in its statistics within the second. */
const HEADER_BYTES = [64 * 1024, 8 * 1024 * 1024]

/** The column's values, a page of them at a time. @throws Error with the reason. */
export async function* pagesOf(column: Column): AsyncGenerator<ArrayLike<unknown>> {
  const { source, meta, start, end, rows, optional } = column
  const decoder = decoderOf(column)
  let dictionary: ReturnType<typeof convert> | undefined
  let left = rows
  for (let at = start; left > 0 && at < end - 1; ) {
    const { header, length } = await headerAt(source, at, end)
    at += length
    const { compressed_page_size: packed, uncompressed_page_size: unpacked } = header
    requireCount('bytes', packed, end - at)
    requireCount('unpacked bytes', unpacked, READER_LIMITS.page)
    const bytes = await source.slice(at, at + packed)
    at += packed
    const values = requirePage(header, bytes, { codec: meta.codec, optional, left })
    const page = readPage({ view: new DataView(bytes), offset: 0 }, header, decoder, dictionary, undefined, 0)
    if (values === null) {
      dictionary = page.data && convert(page.data, decoder)
      continue
    }
    if (page.data?.length !== values) throw new Error(`a page has ${page.data?.length} of ${values} values`)
    left -= values
    yield page.data
  }
  if (left !== 0) throw new Error(`its pages have ${rows - left} values where ${rows} are announced`)
}

async function headerAt(source: Source, at: number, end: number) {
  let failure: unknown
  for (const most of HEADER_BYTES) {
    const window = { view: new DataView(await source.slice(at, Math.min(end, at + most))), offset: 0 }
    try {
      return { header: parquetHeader(window), length: window.offset }
    } catch (error) {
      failure = error
      if (at + most >= end) break
    }
  }
  throw failure
}

function decoderOf({ metadata, meta, stringFromBytes }: Column): ColumnDecoder {
  const schemaPath = getTreePath(parquetSchema(metadata), meta.path_in_schema)
  const element = schemaPath.at(-1)?.element
  if (element === undefined) throw new Error('its schema lacks the column')
  const parsers = { ...DEFAULT_PARSERS, stringFromBytes }
  return { ...meta, pathInSchema: meta.path_in_schema, element, schemaPath, parsers, compressors, utf8: true }
}

/** Its number of values; null for a dictionary. */
function requirePage(
  header: PageHeader,
  bytes: ArrayBuffer,
  { codec, optional, left }: { codec: ColumnMetaData['codec']; optional: boolean; left: number },
): number | null {
  const type: string = header.type
  const unpacked = header.uncompressed_page_size
  const first = header.data_page_header
  const second = header.data_page_header_v2
  if (type === 'DICTIONARY_PAGE') {
    requireCount('values', header.dictionary_page_header?.num_values, unpacked)
    return null
  }
  const page = new Uint8Array(bytes)
  const values = (type === 'DATA_PAGE_V2' ? second : type === 'DATA_PAGE' ? first : undefined)?.num_values
  if (values === undefined) throw new Error(`a page of the kind ${type} lacks its header`)
  requireCount('values', values, left)
  if (values === 0) throw new Error('a page has no values')
  if (type === 'DATA_PAGE') {
    const whole = viewOf(decompressPage(page, unpacked, codec, compressors))
    const levels = optional ? 4 + whole.getUint32(0, true) : 0
    if (optional) requireRuns(whole, { from: 4, end: levels, width: 1, values })
    requireIndices(whole, levels, first?.encoding, values)
  } else if (second) {
    const { definition_levels_byte_length: levels, repetition_levels_byte_length: before } = second
    requireCount('bytes of levels', levels, Math.min(page.length, unpacked))
    requireCount('bytes of repetition levels', before, 0)
    requireCount('nulls', second.num_nulls, values)
    requireCount('rows', second.num_rows, values)
    if (optional) requireRuns(viewOf(page), { from: 0, end: levels, width: 1, values })
    const rest = page.subarray(levels)
    const size = unpacked - levels
    const plain = second.is_compressed === false || size === 0
    const whole = plain ? rest : decompressPage(rest, size, codec, compressors)
    requireIndices(viewOf(whole), 0, second.encoding, values)
  }
  return values
}

function requireCount(what: string, value: unknown, most: number): void {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= most) return
  throw new Error(`a page cannot have ${String(value)} ${what}`)
}

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

function requireIndices(view: DataView, from: number, encoding: string | undefined, values: number): void {
  if (encoding !== 'PLAIN_DICTIONARY' && encoding !== 'RLE_DICTIONARY') return
  if (from >= view.byteLength) return // all null
  const width = view.getUint8(from)
  if (width > 32) throw new Error(`a page cannot have indices of ${width} bits`)
  requireRuns(view, { from: from + 1, end: view.byteLength, width, values })
}

interface Runs {
  readonly from: number
  readonly end: number
  /** Bits of a value. */
  readonly width: number
  readonly values: number
}

/** Of Parquet's hybrid of repeated and bit-packed values: no run is longer than all values, and all lie inside. */
function requireRuns(view: DataView, { from, end, width, values }: Runs): void {
  if (end > view.byteLength) throw new Error('its runs go beyond the page')
  let at = from
  let seen = 0
  while (seen < values && at < end) {
    let header = 0
    for (let shift = 0; ; shift += 7) {
      if (shift > 28) throw new Error('a run has too long a header')
      const byte = view.getUint8(at++)
      header += (byte & 127) * 2 ** shift
      if (byte < 128) break
    }
    const packed = header % 2 === 1
    const count = Math.floor(header / 2) * (packed ? 8 : 1)
    if (count > values + 7 || count === 0) throw new Error(`a run cannot have ${count} values`)
    at += packed ? (count / 8) * width : Math.ceil(width / 8)
    seen += count
  }
}
