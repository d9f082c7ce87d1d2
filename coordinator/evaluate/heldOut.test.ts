import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { manifestToBytes } from '../../shared/corpus/manifest.ts'
import { decodeShard, encodeShard } from '../../shared/corpus/shard.ts'
import { tokenizerToBytes } from '../../shared/tokenizer/json.ts'
import { trainTokenizer } from '../../shared/tokenizer/train.ts'
import type { BlobStore } from '../store/blobs.ts'
import { openFileBlobStore } from '../store/fileBlobs.ts'
import { byteCount, evenly, makeHeldOut } from './heldOut.ts'

// Six sequences of one token and its follower: 10→11, 20→21, …
const six = Uint16Array.of(10, 11, 20, 21, 30, 31, 40, 41, 50, 51, 60, 61)

let folder: string
let store: BlobStore
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'potluck-held-out-'))
  store = await openFileBlobStore(folder)
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** A corpus of sequences of two bytes, each a token of its own, in shards of so many. */
async function corpus(shards: readonly number[]): Promise<string> {
  const tokenizer = trainTokenizer(['a few words of text'], 257)
  let next = 0
  const validation = []
  for (const sequences of shards) {
    const tokens = Uint16Array.from({ length: 2 * sequences }, () => next++ % 256)
    validation.push({ hash: await store.put(encodeShard(tokens)), sequences })
  }
  const [first] = validation
  return store.put(
    manifestToBytes({
      version: 1,
      name: 'test',
      licence: 'none',
      vocabSize: 257,
      sequenceLength: 1,
      tokenizer: await store.put(tokenizerToBytes(tokenizer)),
      training: first ? [first] : [],
      validation,
    }),
  )
}

describe('held-out text', () => {
  it('is spread evenly over the validation sequences', () => {
    expect(evenly(6, 3)).toEqual([0, 2, 4])
    expect(evenly(6, 4)).toEqual([0, 1, 3, 4])
  })

  it('is all there is when less is there than wanted, and never nothing', () => {
    expect(evenly(6, 1_000)).toEqual([0, 1, 2, 3, 4, 5])
    expect(evenly(6, 0)).toEqual([0])
  })

  it('counts the bytes of predicted tokens only', () => {
    expect(byteCount(six, 2, { byteLength: (id) => id })).toBe(11 + 21 + 31 + 41 + 51 + 61)
  })

  it('E1 is a blob that anyone can fetch, of sequences from every shard in order', async () => {
    const set = await makeHeldOut(await corpus([2, 3, 1]), store)
    expect(set).toMatchObject({ sequences: 6, tokens: 6, bytes: 6 })
    const tokens = decodeShard(await store.get(set.hash), { vocabSize: 257, sequenceLength: 1 })
    expect([...tokens]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
  })

  it('E1 is the same whenever it is made, and another for other text', async () => {
    const [one, same, other] = [await corpus([4]), await corpus([4]), await corpus([3, 1])]
    const { hash } = await makeHeldOut(one, store)
    expect((await makeHeldOut(same, store)).hash).toBe(hash)
    expect((await makeHeldOut(other, store)).hash).toBe(hash) // the same text in other shards
    expect((await makeHeldOut(await corpus([5]), store)).hash).not.toBe(hash)
  })

  it('E1 is cut down to about 25,600 tokens, from the first to the last shard', async () => {
    const set = await makeHeldOut(await corpus([20_000, 20_000, 20_000]), store)
    expect(set.sequences).toBe(25_600)
    expect((await makeHeldOut(await corpus([200, 200]), store, 100)).sequences).toBe(100) // or as the operator says
    const tokens = decodeShard(await store.get(set.hash), { vocabSize: 257, sequenceLength: 1 })
    // Sequence i of the set is sequence floor(i × 60,000 / 25,600) of the corpus, which begins with token 2i mod 256.
    for (const i of [0, 1, 8_532, 8_533, 8_534, 17_066, 25_599]) {
      expect(tokens[2 * i]).toBe((2 * Math.floor((i * 60_000) / 25_600)) % 256)
    }
  })
})
