import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Tokenizer } from './tokenizer.ts'
import { trainTokenizer } from './train.ts'

const bytesOf = (text: string) => new TextEncoder().encode(text)
const [a, b, c] = [97, 98, 99]
/** ab, abc, and a bc that "abc" never reaches because ab comes first. */
const small = new Tokenizer([
  [a, b],
  [256, c],
  [b, c],
])
const trained = trainTokenizer(['the cat sat on the mat, the hat; naïve café 日本 😀😀 '.repeat(3)], 290)
const bare = new Tokenizer([])

describe('encode', () => {
  test('applies the earliest learned merge first, leftmost first', () => {
    expect([...small.encode('abc')]).toEqual([257])
    expect([...small.encode('ababc')]).toEqual([256, 257])
    expect([...small.encode('bcab')]).toEqual([258, 256])
    expect([...new Tokenizer([[a, a]]).encode('aaaaa')]).toEqual([256, 256, a])
  })

  test('a vocabulary of 257 has the bytes and end-of-text, and a text is its bytes', () => {
    expect(bare.vocabSize).toBe(257)
    expect(bare.endOfText).toBe(256)
    expect([...bare.encode('é!')]).toEqual([0xc3, 0xa9, 0x21])
  })

  test('text that looks like an end-of-text marker is text', () => {
    expect(small.encode('<|endoftext|>')).not.toContain(small.endOfText)
  })

  test('no merge crosses from one word to the next', () => {
    const joinsSpace = new Tokenizer([
      [a, 32],
      [32, a],
    ])
    expect([...joinsSpace.encode('a a a')]).toEqual([a, 257, 257])
  })

  test('a lone surrogate becomes U+FFFD', () => {
    expect(small.decode(small.encode('a\ud800b'))).toBe('a\ufffdb')
  })

  test('a word of half a million letters is encoded as a short one is', () => {
    const ids = small.encode('abc'.repeat(170_000))
    expect(ids.length).toBe(170_000)
    expect(ids.every((id) => id === 257)).toBe(true)
  }, 60_000)

  test('astral characters stay whole where a long text is cut', () => {
    const text = `a${'😀'.repeat(600_000)}`
    expect(bare.decode(bare.encode(text)) === text).toBe(true)
  }, 60_000)

  test('the answer is the same with an empty cache and a full one', () => {
    const fresh = new Tokenizer(trained.merges)
    for (let i = 0; i < 70_000; i++) fresh.encode(` ${i.toString(36)}`)
    expect(fresh.encode('the cat')).toEqual(trained.encode('the cat'))
  })
})

describe('round trips', () => {
  test.each([
    ['257 ids', bare],
    ['290 ids', trained],
  ])('any text comes back exactly, %s', (_, tokenizer) => {
    const text = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }), fc.lorem())
    fc.assert(
      fc.property(text, (text) => {
        const ids = tokenizer.encode(text)
        expect(tokenizer.decode(ids)).toBe(text)
        expect(tokenizer.decodeBytes(ids)).toEqual(bytesOf(text))
        expect(tokenizer.encodeBytes(bytesOf(text))).toEqual(ids)
      }),
    )
  })

  /** Random bytes are almost never near UTF-8; these mix whole characters, halves of them and noise. */
  const mixed = fc
    .array(fc.oneof(fc.string({ unit: 'binary' }).map(bytesOf), fc.uint8Array({ maxLength: 4 })))
    .map((parts) => Uint8Array.from(parts.flatMap((part) => [...part])))

  test.each([
    ['257 ids', bare],
    ['290 ids', trained],
  ])('any bytes come back exactly, %s', (_, tokenizer) => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), mixed), (bytes) => {
        const ids = tokenizer.encodeBytes(bytes)
        expect(tokenizer.decodeBytes(ids)).toEqual(bytes)
        expect(ids.reduce((sum, id) => sum + tokenizer.byteLength(id), 0)).toBe(bytes.length)
      }),
    )
  })

  test('bytes of no valid character are their own ids; the text around them is merged', () => {
    expect([...small.encodeBytes(Uint8Array.of(a, b, 0xff, 0xe2, 0x82, a, b, c))]).toEqual([
      256, 0xff, 0xe2, 0x82, 257,
    ])
  })

  test.each([
    ['overlong', [0xc0, 0x80]],
    ['overlong three', [0xe0, 0x9f, 0xbf]],
    ['a surrogate', [0xed, 0xa0, 0x80]],
    ['beyond U+10FFFF', [0xf4, 0x90, 0x80, 0x80]],
    ['cut short', [0xf0, 0x9f, 0x98]],
    ['a lone continuation', [0x80]],
  ])('invalid UTF-8 survives: %s', (_, bytes) => {
    expect([...trained.decodeBytes(trained.encodeBytes(Uint8Array.from(bytes)))]).toEqual(bytes)
  })

  test('a byte order mark survives', () => {
    expect(trained.decode(trained.encode('\ufeffthe'))).toBe('\ufeffthe')
    expect([...trained.decodeBytes(trained.encodeBytes(Uint8Array.of(0xef, 0xbb, 0xbf)))]).toEqual([
      0xef, 0xbb, 0xbf,
    ])
  })
})

describe('decode', () => {
  test('half a character becomes U+FFFD in text and stays itself in bytes', () => {
    expect(bare.decode([0xc3])).toBe('\ufffd')
    expect([...bare.decodeBytes([0xc3])]).toEqual([0xc3])
  })

  test('end-of-text has no bytes', () => {
    expect(small.byteLength(small.endOfText)).toBe(0)
    expect(small.decode([257, small.endOfText, a])).toBe('abca')
  })

  test('byteLength counts the bytes of a token', () => {
    expect([a, 256, 257, 258].map((id) => small.byteLength(id))).toEqual([1, 2, 3, 2])
  })

  test.each([-1, 260, 1.5, Number.NaN])('refuses %s, which is no id', (id) => {
    expect(() => small.decode([id])).toThrow(expect.objectContaining({ code: 'bad-request' }))
  })
})
