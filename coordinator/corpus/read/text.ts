/** Plain text in UTF-8, documents set apart by a separator. White space around a document is not part of it. */
import { isUtf8 } from 'node:buffer'
import { cutWithin, type Item, READER_LIMITS, ReaderError } from './item.ts'

export async function* readText(
  chunks: AsyncIterable<Uint8Array>,
  { name, separator }: { readonly name: string; readonly separator: string },
): AsyncGenerator<Item[]> {
  const mark = Buffer.from(separator)
  let rest = Buffer.alloc(0)
  let document = 1
  let any = false
  for await (const chunk of chunks) {
    any ||= chunk.length > 0
    const bytes = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk])
    const items: Item[] = []
    let start = 0
    const from = Math.max(0, rest.length - mark.length + 1)
    for (let end = bytes.indexOf(mark, from); end >= 0; end = bytes.indexOf(mark, start)) {
      items.push(...cut(bytes.subarray(start, end), document))
      start = end + mark.length
      document += 1
    }
    rest = bytes.subarray(start)
    // What may be the beginning of a separator stays.
    while (rest.length > READER_LIMITS.document + mark.length) {
      const end = cutWithin(rest.subarray(0, READER_LIMITS.document))
      items.push(...itemOf(rest.subarray(0, end), document))
      rest = rest.subarray(end)
    }
    if (items.length > 0) yield items
  }
  const last = cut(rest, document)
  if (last.length > 0) yield last
  if (!any) throw new ReaderError(name, 'byte 0', 'it is empty')
}

function cut(bytes: Buffer, document: number): Item[] {
  const items: Item[] = []
  let rest = bytes
  while (rest.length > READER_LIMITS.document) {
    const end = cutWithin(rest.subarray(0, READER_LIMITS.document))
    items.push(...itemOf(rest.subarray(0, end), document))
    rest = rest.subarray(end)
  }
  items.push(...itemOf(rest, document))
  return items
}

function itemOf(bytes: Buffer, document: number): Item[] {
  if (!isUtf8(bytes)) return [{ kind: 'broken', place: `document ${document}`, why: 'it is not UTF-8' }]
  const text = bytes.toString('utf8').trim()
  return text === '' ? [] : [{ kind: 'text', text }]
}
