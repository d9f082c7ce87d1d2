import { gzipSync } from 'node:zlib'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { describe, expect, test } from 'vitest'
import { encodeShard } from '../../../shared/corpus/shard.ts'
import { READER_LIMITS, ReaderError } from './item.ts'
import { type ReadOptions, readDocuments } from './read.ts'
import { all, memorySource, shown } from './testing.ts'

const identity = Int32Array.from({ length: 300 }, (_, id) => id)
const options: ReadOptions = {
  separator: '<|end|>',
  field: 'text',
  tokens: { ids: identity, endOfText: 299 },
}

async function read(
  name: string,
  bytes: Uint8Array | string,
  change: Partial<ReadOptions> = {},
  piece?: number,
) {
  const source = memorySource(name, Buffer.from(bytes), piece)
  return shown(await all(readDocuments(source, { ...options, ...change })))
}
const lines = (...rows: unknown[]) => rows.map((row) => JSON.stringify(row)).join('\n')

describe('plain text', () => {
  test.each([1, 3, 7, 1000])(
    'is cut at the separator, wherever the pieces of %i bytes end',
    async (piece) => {
      const text = 'soup<|end|>\n pot: <|en d|> é😀\n<|end|><|end|>\n\nlast'
      expect(await read('a.txt', text, {}, piece)).toEqual(['soup', 'pot: <|en d|> é😀', 'last'])
    },
  )

  test('that is not UTF-8 loses that document alone', async () => {
    const bytes = Buffer.concat([Buffer.from('one<|end|>'), Buffer.from([0xff]), Buffer.from('<|end|>three')])
    expect(await read('a.txt', bytes)).toEqual(['one', 'document 2: it is not UTF-8', 'three'])
  })

  test('of more than a document may have is cut between words, and nothing is lost', async () => {
    const words = 'naïve word '.repeat(300_000)
    const parts = await read('a.txt', words, {}, 100_000)
    expect(parts.length).toBe(4)
    expect(parts.join(' ')).toBe(words.trim())
    for (const part of parts) expect(Buffer.byteLength(part)).toBeLessThanOrEqual(READER_LIMITS.document)
  })

  test('without blanks is cut between characters', async () => {
    const parts = await read('a.txt', '日本'.repeat(400_000), {}, 1_000_000)
    expect(parts.join('')).toBe('日本'.repeat(400_000))
  })
})

describe('JSON Lines', () => {
  test.each([1, 7, 1000])(
    'give the field of every line, and what is wrong with others, in pieces of %i',
    async (piece) => {
      const text = [
        lines({ text: 'soup' }, { text: 'é\n"pot"', url: 'x' }),
        '',
        '{"text": "cut',
        '[1]',
        lines({ body: 'no' }, { text: 5 }, { text: ' ' }),
        lines({ text: 'last' }),
      ].join('\r\n'.slice(1))
      expect(await read('a.jsonl', text, {}, piece)).toEqual([
        'soup',
        'é\n"pot"',
        'line 4: it is not JSON',
        'line 5: it is no object',
        'line 6: it has no text in the field "text"',
        'line 7: it has no text in the field "text"',
        'line 8: its field "text" is empty',
        'last',
      ])
    },
  )

  test('may begin with a byte order mark, end with a carriage return and have another field', async () => {
    const text = `\ufeff${JSON.stringify({ body: 'soup' })}\r\n${JSON.stringify({ body: 'pot' })}\r\n`
    expect(await read('a.ndjson', text, { field: 'body' })).toEqual(['soup', 'pot'])
  })

  test('with a line that is too long lose that line, and hold no more of it than is allowed', async () => {
    const text = `${lines({ text: 'a' })}\n"${'x'.repeat(READER_LIMITS.line + 10)}"\n${lines({ text: 'b' })}`
    expect(await read('a.jsonl', text, {}, 1_000_000)).toEqual([
      'a',
      'line 2: it is longer than 16777216 bytes',
      'b',
    ])
  })

  test('come gzipped, in several members too', async () => {
    const packed = Buffer.concat([gzipSync(`${lines({ text: 'a' })}\n`), gzipSync(lines({ text: 'b' }))])
    expect(await read('a.json.gz', packed)).toEqual(['a', 'b'])
  })
})

describe('Parquet', () => {
  const file = (data: unknown[], type: 'STRING' | 'INT32' = 'STRING') =>
    new Uint8Array(
      parquetWriteBuffer({
        columnData: [
          { name: 'url', data: data.map(String), type: 'STRING' },
          { name: 'text', data, type, nullable: true },
        ],
        rowGroupSize: 2,
      }),
    )

  test('gives one column, row group by row group', async () => {
    expect(await read('a.parquet', file(['soup', 'é', null, ' ', 'last']))).toEqual([
      'soup',
      'é',
      'row 2: it has no text in UTF-8',
      'row 3: its text is empty',
      'last',
    ])
  })

  test.each([
    [
      'another column',
      file(['a']),
      { field: 'body' },
      'row group 0: it has no column "body"; it has url, text',
    ],
    ['numbers', file([1, 2], 'INT32'), {}, 'row group 0: its column "text" holds INT32'],
    ['no Parquet', Buffer.from('PAR1 and nothing more'), {}, 'its last bytes: it does not end with PAR1'],
    ['half a file', file(['a', 'b']).subarray(0, 60), {}, 'it does not end with PAR1'],
    ['nothing', Buffer.alloc(0), {}, 'too short'],
  ])('with %s is refused', async (_, bytes, change, message) => {
    const failure = expect(read('a.parquet', bytes, change)).rejects
    await failure.toMatchObject({ file: 'a.parquet', message: expect.stringContaining(message) })
  })
})

describe('files of tokens', () => {
  const ids = Uint16Array.of(299, 5, 6, 299, 299, 7, 299, 8)
  const raw = new Uint8Array(ids.buffer)

  test.each([
    ['nanoGPT', raw],
    ['llm.c', encodeShard(ids)],
  ])('of %s are cut at end-of-text', async (_, bytes) => {
    expect(await read('a.bin', bytes, {}, 3)).toEqual(['5,6', '7', '8'])
  })

  test('get our ids for theirs', async () => {
    const theirs = identity.map((id) => 299 - id)
    expect(await read('a.bin', raw, { tokens: { ids: theirs, endOfText: 0 } })).toEqual([
      '294,293',
      '292',
      '291',
    ])
  })

  test.each([
    ['half an id', raw.subarray(0, 5), 'byte 5: an odd number of bytes'],
    ['an id that its tokenizer lacks', Uint8Array.of(5, 0, 44, 1), 'token 1: its tokenizer has no id 300'],
    ['fewer ids than announced', encodeShard(ids).subarray(0, -2), 'it announces 8 ids'],
    ['ids of 32 bits', new Uint8Array(Int32Array.from({ length: 256 }, () => 20240801).buffer), '32 bits'],
    ['nothing', new Uint8Array(0), 'it is empty'],
  ])('with %s are refused', async (_, bytes, message) => {
    await expect(read('a.bin', bytes)).rejects.toThrow(ReaderError)
    await expect(read('a.bin', bytes)).rejects.toThrow(message)
  })

  test('without a tokenizer are refused with the cure', async () => {
    await expect(read('a.bin', raw, { tokens: null })).rejects.toThrow('--tokenizer')
  })
})

test.each([
  ['a.gz', 'Nobody knows how to read a.gz'],
  ['a.parquet.gz', 'Nobody knows'],
  ['a.csv', '.jsonl'],
])('%s is nothing that is read', async (name, message) => {
  await expect(async () => read(name, 'x')).rejects.toThrow(message)
})

test('a gzip file that ends too soon is refused where it ends', async () => {
  const packed = gzipSync(lines({ text: 'a'.repeat(1000) })).subarray(0, 25)
  await expect(read('a.jsonl.gz', packed)).rejects.toThrow(
    'a.jsonl.gz, about byte 25 of the compressed file: it is no whole gzip file: unexpected end of file.',
  )
})
