/** Parquet: one column of strings, row group by row group and page by page. The other columns are not touched. */
import { isUtf8 } from 'node:buffer'
import { type AsyncBuffer, type FileMetaData, parquetMetadataAsync } from 'hyparquet'
import { type Item, READER_LIMITS, ReaderError, type Source } from './item.ts'
import { textItems } from './jsonLines.ts'
import { type Column, pagesOf } from './parquetPages.ts'

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
  let row = 0
  for (const [index, group] of groupsOf(source, metadata).entries()) {
    const place = `row group ${index}`
    const pages = pagesOf(columnOf(source, place, metadata, group, field))
    for (;;) {
      const page = await attempt(source, place, () => pages.next())
      if (page.done) break
      const first = row
      const items = Array.from(page.value, (value, i) => itemsOf(value, first + i)).flat()
      if (items.length > 0) yield items
      row += page.value.length
    }
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

/** @throws ReaderError unless the row group has such a column of text, where it says. */
function columnOf(
  source: Source,
  place: string,
  metadata: FileMetaData,
  { columns, num_rows: rows }: RowGroup,
  field: string,
): Column {
  const refuse = (why: string) => new ReaderError(source.name, place, why)
  const names = columns.map(({ meta_data: meta }) => meta?.path_in_schema?.join('.') ?? '?')
  const meta = columns[names.indexOf(field)]?.meta_data
  if (meta === undefined)
    throw refuse(`it has no column "${field}"; it has ${names.join(', ').slice(0, 300)}`)
  const element = metadata.schema.find(({ name }) => name === field)
  if (element?.repetition_type === 'REPEATED') throw refuse(`its column "${field}" is a list`)
  if (meta.type !== 'BYTE_ARRAY') throw refuse(`its column "${field}" holds ${meta.type}, not text`)
  const start = Number(meta.dictionary_page_offset || meta.data_page_offset)
  const end = start + Number(meta.total_compressed_size)
  if (!(start >= 0 && end >= start && end <= source.size))
    throw refuse(`its column "${field}" does not lie in the file`)
  if (Number(meta.num_values) !== Number(rows))
    throw refuse(`its column "${field}" has ${meta.num_values} values in ${rows} rows`)
  const optional = element?.repetition_type !== 'REQUIRED'
  return { source, metadata, meta, start, end, rows: Number(rows), optional, stringFromBytes: textOrNull }
}

/** Null for what is no text in UTF-8. */
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
