import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { expect, test } from 'vitest'
import { encodeShard } from '../../../shared/corpus/shard.ts'
import { ReaderError } from './item.ts'
import { readDocuments } from './read.ts'
import { all, memorySource } from './testing.ts'

const ids = Int32Array.from({ length: 400 }, (_, id) => (id < 300 ? id : -1))
const options = { separator: '--', field: 'text', tokens: { ids, endOfText: 299 } }
const texts = Array.from({ length: 12 }, (_, i) => `Document ${i} — ${'soup '.repeat(i)}`)
const json = Buffer.from(texts.map((text) => JSON.stringify({ text })).join('\n'))
const parquet = (codec: 'SNAPPY' | 'UNCOMPRESSED') =>
  new Uint8Array(
    parquetWriteBuffer({
      columnData: [{ name: 'text', data: texts, type: 'STRING' }],
      rowGroupSize: 5,
      codec,
    }),
  )

const repeated = new Uint8Array(
  parquetWriteBuffer({
    columnData: [
      {
        ...{ name: 'text', type: 'STRING', nullable: true, encoding: 'RLE_DICTIONARY' },
        data: Array.from({ length: 60 }, (_, i) => texts[i % 7] ?? ''),
      },
    ],
  }),
)

const WHOLE: Record<string, Uint8Array> = {
  'a.txt': Buffer.from(texts.join('--')),
  'a.jsonl': json,
  'a.jsonl.gz': gzipSync(json),
  'snappy.parquet': parquet('SNAPPY'),
  'dictionary.parquet': repeated,
  'plain.parquet': parquet('UNCOMPRESSED'),
  'raw.bin': new Uint8Array(Uint16Array.from({ length: 500 }, (_, i) => i % 300).buffer),
  'llmc.bin': encodeShard(Uint16Array.from({ length: 500 }, (_, i) => i % 300)),
}

/** Bytes changed, cut off, put in and taken out. */
function spoiltFrom(bytes: Uint8Array): fc.Arbitrary<Uint8Array> {
  const at = fc.oneof(
    fc.nat(bytes.length - 1),
    fc.integer({ min: Math.max(0, bytes.length - 300), max: bytes.length - 1 }),
  )
  const change = fc.record({
    at,
    how: fc.constantFrom('set', 'cut', 'insert', 'remove', 'flip'),
    value: fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 127, 128, 255)),
  })
  return fc.array(change, { minLength: 1, maxLength: 5 }).map((changes) => {
    let spoilt = Buffer.from(bytes)
    for (const { at, how, value } of changes) {
      if (how === 'set') spoilt[at] = value
      if (how === 'flip') spoilt[at] = (spoilt[at] ?? 0) ^ (1 << (value % 8))
      if (how === 'cut' && value < 40) spoilt = spoilt.subarray(0, at)
      if (how === 'insert')
        spoilt = Buffer.concat([spoilt.subarray(0, at), Buffer.of(value), spoilt.subarray(at)])
      if (how === 'remove') spoilt = Buffer.concat([spoilt.subarray(0, at), spoilt.subarray(at + 1)])
    }
    return spoilt
  })
}

async function readsOrRefuses(name: string, bytes: Uint8Array): Promise<void> {
  try {
    await all(readDocuments(memorySource(name, bytes, 64), options))
  } catch (error) {
    expect(error).toBeInstanceOf(ReaderError)
    expect(error).toMatchObject({ file: name, code: 'bad-corpus' })
    expect((error as ReaderError).place).not.toBe('') // a ReaderError by the line before
  }
}

test.each(Object.keys(WHOLE))('%s, spoilt anywhere, is read or refused with file and place', async (name) => {
  const whole = WHOLE[name] ?? new Uint8Array(0)
  const runs = { numRuns: name.endsWith('.parquet') ? 1_000 : 300 }
  await fc.assert(
    fc.asyncProperty(spoiltFrom(whole), (bytes) => readsOrRefuses(name, bytes)),
    runs,
  )
})

test.each(Object.keys(WHOLE))('%s of any bytes is read or refused with file and place', async (name) => {
  await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), (bytes) => readsOrRefuses(name, bytes)))
})
