/**
 * Text that is tokens already, as uint16, little endian: nanoGPT's `train.bin` (nothing but ids) and llm.c's
 * `fineweb_train_000001.bin` (a header of 256 int32 first: 20240520, 1, number of ids). Documents begin or end with
 * end-of-text. What the ids mean no such file says; the tokenizer must be known.
 */
import { type Item, READER_LIMITS, ReaderError, type Source } from './item.ts'

const [MAGIC, VERSION, MAGIC_U32] = [20240520, 1, 20240801]
const HEADER_BYTES = 1024

export interface TokenFormat {
  /** Ours for every id of the file, -1 for none: ForeignTokenizer's. */
  readonly ids: Int32Array
  /** Ours. */
  readonly endOfText: number
}

export async function* readTokens(source: Source, { ids, endOfText }: TokenFormat): AsyncGenerator<Item[]> {
  const start = await headerLength(source)
  let document = new Uint16Array(1 << 12)
  let length = 0
  let index = 0
  let skip = start
  let odd: number | null = null
  for await (const chunk of source.stream()) {
    const items: Item[] = []
    const finish = () => {
      if (length > 0) items.push({ kind: 'ids', ids: document.slice(0, length) })
      length = 0
    }
    for (let at = 0; at < chunk.length; at++) {
      if (skip > 0) {
        skip -= 1
        continue
      }
      const byte = chunk[at] as number // at < length
      if (odd === null) {
        odd = byte
        continue
      }
      const theirs = odd | (byte << 8)
      odd = null
      const id = ids[theirs] ?? -1
      if (id < 0) throw new ReaderError(source.name, `token ${index}`, `its tokenizer has no id ${theirs}`)
      index += 1
      if (id === endOfText || length === READER_LIMITS.documentIds) finish()
      if (id === endOfText) continue
      if (length === document.length) {
        const grown = new Uint16Array(2 * length)
        grown.set(document)
        document = grown
      }
      document[length++] = id
    }
    if (items.length > 0) yield items
  }
  if (length > 0) yield [{ kind: 'ids', ids: document.slice(0, length) }]
}

/** @throws ReaderError for a length that does not fit. */
async function headerLength(source: Source): Promise<number> {
  const refuse = (place: string, why: string) => new ReaderError(source.name, place, why)
  const header = new DataView(await source.slice(0, Math.min(HEADER_BYTES, source.size)))
  const magic = header.byteLength === HEADER_BYTES ? header.getInt32(0, true) : 0
  if (magic === MAGIC_U32) throw refuse('its header', 'its ids have 32 bits; 16 are supported')
  if (magic !== MAGIC) {
    if (source.size % 2 === 1) throw refuse(`byte ${source.size}`, 'an odd number of bytes is no uint16 ids')
    if (source.size === 0) throw refuse('byte 0', 'it is empty')
    return 0
  }
  const [version, count] = [header.getInt32(4, true), header.getInt32(8, true)]
  if (version !== VERSION) throw refuse('its header', `its version is ${version}; ${VERSION} is known`)
  if (source.size !== HEADER_BYTES + 2 * count)
    throw refuse('its header', `it announces ${count} ids, but the file has ${source.size} bytes`)
  return HEADER_BYTES
}
