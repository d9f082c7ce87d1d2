/** JSON Lines: an object a line, its text in one field. Blank lines are nothing. Not a JSON array. */
import { isUtf8 } from 'node:buffer'
import { type Item, piecesOf, READER_LIMITS, ReaderError } from './item.ts'

const NEWLINE = 0x0a
const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf])

export async function* readJsonLines(
  chunks: AsyncIterable<Uint8Array>,
  { name, field }: { readonly name: string; readonly field: string },
): AsyncGenerator<Item[]> {
  let rest = Buffer.alloc(0)
  let line = 1
  /** Of a line that is too long, until its end. */
  let skipping = false
  for await (const chunk of chunks) {
    const bytes = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk])
    const items: Item[] = []
    let start = 0
    for (let end = bytes.indexOf(NEWLINE, rest.length); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
      if (skipping) skipping = false
      else items.push(...itemsOf(bytes.subarray(start, end), line, field))
      start = end + 1
      line += 1
    }
    rest = bytes.subarray(start)
    if (rest.length > READER_LIMITS.line) {
      if (!skipping) items.push(tooLong(line))
      skipping = true
    }
    if (skipping) rest = Buffer.alloc(0)
    if (items.length > 0) yield items
  }
  if (rest.length > 0) yield itemsOf(rest, line, field)
  if (line === 1 && rest.length === 0 && !skipping) throw new ReaderError(name, 'line 1', 'it has no lines')
}

function itemsOf(bytes: Buffer, line: number, field: string): Item[] {
  if (bytes.length > READER_LIMITS.line) return [tooLong(line)]
  const start = line === 1 && bytes.subarray(0, 3).equals(BYTE_ORDER_MARK) ? 3 : 0
  const text = bytes.subarray(start)
  if (!isUtf8(text)) return [broken(line, 'it is not UTF-8')]
  const json = text.toString('utf8')
  if (json.trim() === '') return []
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch {
    return [broken(line, 'it is not JSON')]
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return [broken(line, 'it is no object')]
  const found: unknown = Object.hasOwn(value, field) ? (value as Record<string, unknown>)[field] : undefined // an object
  if (typeof found !== 'string') return [broken(line, `it has no text in the field "${field}"`)]
  if (found.trim() === '') return [broken(line, `its field "${field}" is empty`)]
  return textItems(found)
}

/** A text as one item, or as several when it is long. */
export function textItems(text: string): Item[] {
  if (text.length <= READER_LIMITS.document / 3) return [{ kind: 'text', text }]
  return [...piecesOf(Buffer.from(text))].map((piece) => ({ kind: 'text', text: piece.toString('utf8') }))
}

const broken = (line: number, why: string): Item => ({ kind: 'broken', place: `line ${line}`, why })

const tooLong = (line: number) => broken(line, `it is longer than ${READER_LIMITS.line} bytes`)
