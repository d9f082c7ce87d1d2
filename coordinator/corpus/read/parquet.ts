/**
 * Parquet: one column of strings, row group by row group, because that is what hyparquet and the format read at once.
 * The other columns are not touched.
 */
import { isUtf8 } from 'node:buffer'
import {
  type AsyncBuffer,
  type FileMetaData,
  parquetMetadataAsync,
  parquetRead,
  type SchemaElement,
} from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import { type Item, READER_LIMITS, ReaderError, type Source } from './item.ts'
import { textItems } from './jsonLines.ts'
import { requirePages } from './parquetPages.ts'

const MAGIC = 'PAR1'
const TAIL = 8
/** Rows of a row group; writers keep to about a million. */
const MOST_ROWS = 2 ** 24

export async function* readParquet(
  source: Source,
  { field }: { readonly field: string },
): AsyncGenerator<Item[]> {
  const file: AsyncBuffer = { byteLength: source.size, slice: (start, end) => source.slice(start, end) }
  await requireFooter(source)
  const metadata = await attempt(source, 'its footer', () => parquetMetadataAsync(file))
  const element = metadata.schema.find(({ name }) => name === field)
  let row = 0
  for (const [index, group] of groupsOf(source, metadata).entries()) {
    const place = `row group ${index}`
    await requireColumn(source, place, group, element, field)
    const rows = Number(group.num_rows)
    const values = await attempt(source, place, () => columnOf(file, metadata, field, row, row + rows))
    if (values.length !== rows) {
      throw new ReaderError(source.name, place, `it has ${values.length} rows where ${rows} are announced`)
    }
    const items = values.flatMap((value, i) => itemsOf(value, row + i))
    if (items.length > 0) yield items
    row += rows
  }
}

async function requireFooter(source: Source): Promise<void> {
  const refuse = (why: string) => new ReaderError(source.name, 'its last bytes', why)
  if (source.size < TAIL + MAGIC.length) throw refuse('it is too short for Parquet')
  const tail = Buffer.from(await source.slice(source.size - TAIL, source.size))
  if (tail.toString('latin1', 4) !== MAGIC)
    throw refuse(`it does not end with ${MAGIC}, so it is no whole Parquet file`)
  const length = tail.readUInt32LE(0)
  if (length > READER_LIMITS.footer || length > source.size - TAIL - MAGIC.length)
    throw refuse(`its footer cannot have ${length} bytes`)
}

type RowGroup = FileMetaData['row_groups'][number]

/** Numbers that hyparquet takes on trust. */
function groupsOf(source: Source, { row_groups: groups }: FileMetaData): readonly RowGroup[] {
  const bad = Array.isArray(groups)
    ? groups.findIndex(
        ({ num_rows: rows, columns }) => !(rows >= 0 && rows <= MOST_ROWS && Array.isArray(columns)),
      )
    : 0
  if (bad >= 0) throw new ReaderError(source.name, `row group ${bad}`, 'its description makes no sense')
  return groups
}

async function requireColumn(
  source: Source,
  place: string,
  { columns, num_rows: rows }: RowGroup,
  element: SchemaElement | undefined,
  field: string,
): Promise<void> {
  const refuse = (why: string) => new ReaderError(source.name, place, why)
  const names = columns.map(({ meta_data: meta }) => meta?.path_in_schema?.join('.') ?? '?')
  const meta = columns[names.indexOf(field)]?.meta_data
  if (meta === undefined)
    throw refuse(`it has no column "${field}"; it has ${names.join(', ').slice(0, 300)}`)
  if (element?.repetition_type === 'REPEATED') throw refuse(`its column "${field}" is a list`)
  if (meta.type !== 'BYTE_ARRAY') throw refuse(`its column "${field}" holds ${meta.type}, not text`)
  const [packed, unpacked] = [Number(meta.total_compressed_size), Number(meta.total_uncompressed_size)]
  const start = Number(meta.dictionary_page_offset || meta.data_page_offset)
  if (!(start >= 0 && packed >= 0 && start + packed <= source.size))
    throw refuse(`its column "${field}" does not lie in the file`)
  if (!(unpacked <= READER_LIMITS.rowGroup))
    throw refuse(`its column "${field}" has ${unpacked} bytes; ${READER_LIMITS.rowGroup} are the most`)
  if (Number(meta.num_values) !== Number(rows))
    throw refuse(`its column "${field}" has ${meta.num_values} values in ${rows} rows`)
  const bytes = await source.slice(start, start + packed)
  const column = {
    bytes,
    rows: Number(rows),
    codec: meta.codec,
    optional: element?.repetition_type !== 'REQUIRED',
  }
  await attempt(source, place, async () => requirePages(column))
}

/** Null for what is no text in UTF-8. */
async function columnOf(
  file: AsyncBuffer,
  metadata: FileMetaData,
  field: string,
  rowStart: number,
  rowEnd: number,
): Promise<readonly unknown[]> {
  const values: unknown[] = []
  const parsers = { stringFromBytes: textOrNull }
  const range = { rowStart, rowEnd, columns: [field] }
  await parquetRead({
    ...{ file, metadata, compressors, parsers, ...range },
    onComplete: (rows) => {
      for (const row of rows) values.push(row[0])
    },
  })
  return values
}

const textOrNull = (bytes: Uint8Array | undefined): string | null =>
  bytes !== undefined && isUtf8(bytes)
    ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8')
    : null

function itemsOf(value: unknown, row: number): Item[] {
  const broken = (why: string): Item[] => [{ kind: 'broken', place: `row ${row}`, why }]
  if (typeof value !== 'string') return broken('it has no text in UTF-8')
  return value.trim() === '' ? broken('its text is empty') : textItems(value)
}

/** hyparquet throws all kinds of errors at what is not Parquet. */
async function attempt<T>(source: Source, place: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new ReaderError(source.name, place, `it cannot be read: ${why.slice(0, 200)}`)
  }
}
