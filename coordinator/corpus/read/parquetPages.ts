/**
 * Whether the pages of one column can be what they say. hyparquet takes their lengths, counts and runs on trust: with
 * wrong ones it goes round and round, or repeats a value two thousand million times. Not the reading itself: parquet.ts.
 */
import type { FileMetaData } from 'hyparquet'
import { parquetHeader } from 'hyparquet/src/column.js'
import { decompressPage } from 'hyparquet/src/datapage.js'
import { compressors } from 'hyparquet-compressors'
import { READER_LIMITS } from './item.ts'

type Codec = NonNullable<FileMetaData['row_groups'][number]['columns'][number]['meta_data']>['codec']

export interface Column {
  /** From its first page on. */
  readonly bytes: ArrayBuffer
  readonly rows: number
  readonly codec: Codec
  /** Whether values may be null: then each has a definition level. */
  readonly optional: boolean
}

/** @throws Error with the reason. */
export function requirePages({ bytes, rows, codec, optional }: Column): void {
  const reader = { view: new DataView(bytes), offset: 0 }
  let left = rows
  while (left > 0 && reader.offset < bytes.byteLength - 1) {
    const header = parquetHeader(reader)
    const type: string = header.type
    const first = header.data_page_header
    const second = header.data_page_header_v2
    const [packed, unpacked] = [header.compressed_page_size, header.uncompressed_page_size]
    const values = (
      type === 'DATA_PAGE_V2' ? second : type === 'DATA_PAGE' ? first : header.dictionary_page_header
    )?.num_values
    if (values === undefined) throw new Error(`a page of the kind ${type} lacks its header`)
    requireCount('bytes', packed, bytes.byteLength - reader.offset)
    requireCount('unpacked bytes', unpacked, READER_LIMITS.rowGroup)
    requireCount('values', values, type === 'DICTIONARY_PAGE' ? unpacked : left)
    const page = new Uint8Array(bytes, reader.offset, packed)
    reader.offset += packed
    if (type === 'DICTIONARY_PAGE') continue
    if (values === 0) throw new Error('a page has no values')
    left -= values
    if (type === 'DATA_PAGE') {
      const whole = viewOf(decompressPage(page, unpacked, codec, compressors))
      const levels = optional ? 4 + whole.getUint32(0, true) : 0
      if (optional) requireRuns(whole, { from: 4, end: levels, width: 1, values })
      requireIndices(whole, levels, first?.encoding, values)
    } else if (second) {
      const { definition_levels_byte_length: levels, repetition_levels_byte_length: before } = second
      requireCount('bytes of levels', levels, Math.min(packed, unpacked))
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
  }
  if (left !== 0) throw new Error(`its pages have ${rows - left} values where ${rows} are announced`)
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
