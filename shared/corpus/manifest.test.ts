import { expect, test } from 'vitest'
import { type CorpusManifest, manifestFromBytes, manifestToBytes } from './manifest.ts'

const hash = 'ab'.repeat(32)
const manifest: CorpusManifest = {
  version: 1,
  name: 'Menus',
  licence: 'CC0-1.0',
  vocabSize: 257,
  sequenceLength: 8,
  tokenizer: hash,
  training: [{ hash, sequences: 3 }],
  validation: [{ hash, sequences: 1 }],
}

test('a manifest comes back from its bytes', () => {
  expect(manifestFromBytes(manifestToBytes(manifest))).toEqual(manifest)
})

test('the order of the keys does not change the bytes', () => {
  const backwards = Object.fromEntries(Object.entries(manifest).reverse())
  expect(manifestToBytes(backwards as CorpusManifest)).toEqual(manifestToBytes(manifest)) // the same keys, reordered
  expect(new TextDecoder().decode(manifestToBytes(manifest))).toMatch(
    /^\{"licence":"CC0-1.0","name":"Menus",/,
  )
})

test.each([
  ['no JSON', '{'],
  ['an unknown key', JSON.stringify({ ...manifest, author: 'x' })],
  ['no shards', JSON.stringify({ ...manifest, training: [] })],
  ['a path for a hash', JSON.stringify({ ...manifest, tokenizer: '../secret' })],
])('what is corrupt is refused: %s', (_, text) => {
  const read = () => manifestFromBytes(new TextEncoder().encode(text))
  expect(read).toThrow(expect.objectContaining({ code: 'bad-blob' }))
})
