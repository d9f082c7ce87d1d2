import { describe, expect, test } from 'vitest'
import { tokenizerFromJSON, tokenizerToBytes, tokenizerToJSON } from './json.ts'
import { Tokenizer } from './tokenizer.ts'
import { trainTokenizer } from './train.ts'

const bytesOf = (text: string) => new TextEncoder().encode(text)
const stored = (merges: unknown) => ({ format: 'potluck-bpe', version: 1, merges })

test('the stored form is small and literal', () => {
  const bytes = tokenizerToBytes(
    new Tokenizer([
      [97, 98],
      [256, 99],
    ]),
  )
  expect(new TextDecoder().decode(bytes)).toBe(
    '{"format":"potluck-bpe","version":1,"merges":[[97,98],[256,99]]}',
  )
})

test('a tokenizer comes back the same from bytes and from the object', () => {
  const tokenizer = trainTokenizer(['soup of the day, soup of the night'], 270)
  for (const source of [tokenizerToBytes(tokenizer), tokenizerToJSON(tokenizer)]) {
    const again = tokenizerFromJSON(source)
    expect(again.merges).toEqual(tokenizer.merges)
    expect(again.vocabSize).toBe(270)
    expect(again.encode('soup of the day')).toEqual(tokenizer.encode('soup of the day'))
  }
})

test('ids that are not in use are remembered', () => {
  const padded = new Tokenizer([[97, 98]], 300)
  const again = tokenizerFromJSON(tokenizerToBytes(padded))
  expect([again.vocabSize, again.endOfText]).toEqual([300, 257])
  expect([again.byteLength(299), again.decode([256, 257, 299])]).toEqual([0, 'ab'])
  expect(() => again.byteLength(300)).toThrow('no id')
})

describe('what is corrupt is refused', () => {
  const doublings = (count: number) =>
    Array.from({ length: count }, (_, i) => (i === 0 ? [97, 97] : [255 + i, 255 + i]))

  test.each([
    ['no JSON', bytesOf('{"format":'), 'not JSON'],
    ['no UTF-8', Uint8Array.of(0xff), 'not JSON'],
    ['too many bytes', new Uint8Array(1024 * 1024 + 1), '1048577 bytes'],
    ['another format', { ...stored([]), format: 'bpe' }, 'format'],
    ['a later version', { ...stored([]), version: 2 }, 'version'],
    ['an unknown key', { ...stored([]), bos: 1 }, 'bos'],
    ['no merges', { format: 'potluck-bpe', version: 1 }, 'merges'],
    ['a merge of three', stored([[1, 2, 3]]), 'merges'],
    ['an id that is no whole number', stored([[1.5, 2]]), 'merges'],
    ['a merge of an id that does not exist yet', stored([[97, 256]]), 'only ids below 256'],
    ['the same merge twice', stored([[97, 98], [97, 98]]), 'same bytes'], // biome-ignore format: a row
    ['one token made in two ways', stored([[97, 98], [98, 99], [97, 257], [256, 99]]), 'same bytes'], // biome-ignore format: a row
    ['a token that grows without bound', stored(doublings(60)), '512 bytes'],
    ['too many merges', stored(Array(65_280).fill([0, 1])), 'merges'],
    ['fewer ids than it has', { ...stored([[97, 98]]), vocabSize: 257 }, 'no room for 1 merges'],
    ['null', null, 'corrupt'],
  ])('%s', (_, source, message) => {
    expect(() => tokenizerFromJSON(source)).toThrow(expect.objectContaining({ code: 'bad-blob' }))
    expect(() => tokenizerFromJSON(source)).toThrow(message)
  })
})

test('the largest vocabulary has 65,536 ids, and the last is 65,535', () => {
  // Every pair of bytes once, until the ids are used up.
  const merges = Array.from({ length: 65_279 }, (_, i): [number, number] => [i >> 8, i & 255])
  const again = tokenizerFromJSON(tokenizerToBytes(new Tokenizer(merges)))
  expect(again.vocabSize).toBe(65_536)
  expect(again.endOfText).toBe(65_535)
  const bytes = Uint8Array.of(0x41, 0x42)
  expect([...again.encodeBytes(bytes)]).toEqual([256 + 0x4142])
  expect(Uint16Array.of(again.endOfText)[0]).toBe(again.endOfText)
})
