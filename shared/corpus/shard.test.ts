import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeShard, encodeShard } from './shard.ts'

const pairs = { vocabSize: 65_536, sequenceLength: 1 }
const tokens = Uint16Array.of(1, 258, 65_535, 0)

test('the bytes are llm.c’s: 20240520, 1 and the count as little-endian int32, then uint16', () => {
  const bytes = encodeShard(tokens)
  expect(bytes.length).toBe(1024 + 8)
  // 20240520 = 0x0134d888.
  expect([...bytes.subarray(0, 12)]).toEqual([0x88, 0xd8, 0x34, 0x01, 1, 0, 0, 0, 4, 0, 0, 0])
  expect(bytes.subarray(12, 1024).every((byte) => byte === 0)).toBe(true)
  expect([...bytes.subarray(1024)]).toEqual([1, 0, 2, 1, 255, 255, 0, 0])
})

test('tokens come back, from any offset of a larger buffer too', () => {
  fc.assert(
    fc.property(fc.uint16Array(), fc.nat(3), (ids, offset) => {
      const bytes = encodeShard(ids)
      const moved = new Uint8Array(bytes.length + offset)
      moved.set(bytes, offset)
      expect(decodeShard(moved.subarray(offset), { vocabSize: 65_536, sequenceLength: 0 })).toEqual(ids)
    }),
  )
})

describe('what is corrupt is refused', () => {
  const changed = (at: number, byte: number) => {
    const bytes = encodeShard(tokens)
    bytes[at] = byte
    return bytes
  }
  test.each([
    ['nothing', new Uint8Array(0), pairs, 'header'],
    ['half a header', new Uint8Array(1023), pairs, 'header'],
    ['another magic', changed(0, 0x89), pairs, '20240521'],
    ['another version', changed(4, 7), pairs, 'version is 7'],
    ['one byte short', encodeShard(tokens).subarray(0, 1031), pairs, 'it has 1031'],
    ['one byte over', Uint8Array.of(...encodeShard(tokens), 0), pairs, 'it has 1033'],
    ['a negative count', changed(11, 0xff), pairs, 'tokens make'],
    ['part of a sequence', encodeShard(tokens), { ...pairs, sequenceLength: 2 }, 'sequences of 3'],
    ['fewer sequences than promised', encodeShard(tokens), { ...pairs, sequences: 3 }, 'holds 2'],
    ['an id beyond the vocabulary', encodeShard(tokens), { ...pairs, vocabSize: 65_535 }, 'token 2 is 65535'],
  ])('%s', (_, bytes, expected, message) => {
    expect(() => decodeShard(bytes, expected)).toThrow(expect.objectContaining({ code: 'bad-blob' }))
    expect(() => decodeShard(bytes, expected)).toThrow(message)
  })

  test('an id that just fits is not', () => {
    expect(decodeShard(encodeShard(tokens), { ...pairs, sequences: 2 })).toEqual(tokens)
  })
})
