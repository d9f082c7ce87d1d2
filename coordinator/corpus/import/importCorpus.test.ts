import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, test } from 'vitest'
import { encodeShard, MAX_SHARD_TOKENS } from '../../../shared/corpus/shard.ts'
import { Tokenizer } from '../../../shared/tokenizer/tokenizer.ts'
import { openFileBlobStore } from '../../store/fileBlobs.ts'
import { manifestOf } from '../corpusIndex.ts'
import { documentsOf, importFile } from './testing.ts'

const folders: string[] = []
async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'potluck-import-'))
  folders.push(path)
  return path
}
afterEach(async () => {
  for (const path of folders.splice(0)) await rm(path, { recursive: true })
})
const openBlobs = (data: string) => openFileBlobStore(join(data, 'blobs'))
const texts = (count: number, length = 1) =>
  Array.from({ length: count }, (_, i) => `${i} `.repeat(length).trim())
const lines = (all: readonly string[]) => all.map((text) => JSON.stringify({ text })).join('\n')

async function file(data: string, name: string, content: string | Uint8Array): Promise<string> {
  const path = join(data, name)
  await writeFile(path, content)
  return path
}

describe('an imported corpus', () => {
  test('has every document once, shuffled, and validation of its own', async () => {
    const data = await folder()
    const all = texts(300)
    const from = await file(data, 'menus.jsonl', `${lines(all)}\nnonsense\n{"text":""}`)
    const imported = await importFile({ data, file: from, buckets: 4 })
    const { training, validation, index } = await documentsOf(await openBlobs(data), imported.index)
    expect([...training, ...validation].toSorted()).toEqual(all.toSorted())
    expect(validation.length).toBe(30) // so small a text gives a tenth
    expect(validation).toEqual(validation.toSorted((a, b) => Number(a) - Number(b)))
    expect(training).not.toEqual(training.toSorted((a, b) => Number(a) - Number(b)))
    const size = (list: readonly string[]) => list.reduce((sum, text) => sum + text.length, 0)
    expect(imported).toMatchObject({
      ...{
        documents: 300,
        tokens: size(training) + 270,
        bytes: size(training),
        validationTokens: size(validation) + 30,
      },
      broken: 2,
      brokenExamples: [
        'menus.jsonl, line 301: it is not JSON',
        'menus.jsonl, line 302: its field "text" is empty',
      ],
    })
    expect(index).toMatchObject({ name: 'Menus', licence: 'CC0-1.0', vocabSize: 257 })
    expect(training[0]).toBe(imported.sample)
    expect(await readdir(join(data, 'corpora'))).toEqual([])
  })

  test('is the same whenever it is imported, and another with another seed', async () => {
    const [data, again] = [await folder(), await folder()]
    const from = await file(data, 'menus.txt', texts(100).join('--'))
    const first = await importFile({ data, file: from })
    expect((await importFile({ data: again, file: from })).index).toBe(first.index)
    expect((await importFile({ data: again, file: from, request: { seed: 'y' } })).index).not.toBe(
      first.index,
    )
  })

  test('serves any sequence length: each shard gives the whole sequences it has', async () => {
    const data = await folder()
    const from = await file(data, 'menus.txt', texts(400, 1_500).join('--'))
    const { index: hash, tokens } = await importFile({ data, file: from, buckets: 3 })
    const { index } = await documentsOf(await openBlobs(data), hash)
    expect(index.training.map((shard) => shard.tokens)).toEqual([MAX_SHARD_TOKENS, tokens - MAX_SHARD_TOKENS])
    for (const length of [64, 2_048]) {
      expect(manifestOf(index, length).training.map(({ sequences }) => sequences)).toEqual(
        index.training.map((shard) => Math.floor(shard.tokens / (length + 1))),
      )
    }
    expect(() => manifestOf(index, 2 ** 20)).toThrow('makes not one sequence of 1048577 tokens')
  }, 30_000)

  test('learns 32,000 ids where 32,768 are asked for: a vocabulary too large for the text is refused with its most', async () => {
    const data = await folder()
    const from = await file(data, 'menus.txt', texts(100).join('--'))
    await expect(importFile({ data, file: from, request: { vocabSize: 32_768 } })).rejects.toThrow(
      'supports at most',
    )
  })

  test('may be tokens already, which stay as they are', async () => {
    const data = await folder()
    const ids = Uint16Array.from({ length: 400 }, (_, i) => (i % 8 === 0 ? 258 : (i % 3) + 255))
    const tokenizer = new Tokenizer([
      [97, 98],
      [98, 97],
    ])
    const tokens = { ids: Int32Array.from({ length: 259 }, (_, id) => id), endOfText: 258 }
    const from = await file(data, 'tokens.bin', encodeShard(ids))
    const request = { tokenizer, vocabSize: 259, read: { separator: '-', field: 'text', tokens } }
    const imported = await importFile({ data, file: from, request })
    expect(imported.documents).toBe(50)
    expect(imported.tokens + imported.validationTokens).toBe(400)
  })

  test.each([
    ['of nine documents', texts(9).join('--'), 'There are 9 documents; it takes 10'],
    ['of one line without separator', 'soup of the day', '--separator'],
  ])('%s is refused with what to do', async (_, text, message) => {
    const data = await folder()
    await expect(importFile({ data, file: await file(data, 'a.txt', text) })).rejects.toThrow(message)
  })
})

describe('an import that is killed', () => {
  const KILLED = fileURLToPath(new URL('./killed.ts', import.meta.url))
  async function kill(data: string, from: string, states: number): Promise<NodeJS.Signals | null> {
    const child = spawn(process.execPath, ['--import', 'tsx', KILLED, data, from, String(states)], {
      stdio: 'inherit',
    })
    const [, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null] // what `exit` tells
    return signal
  }

  test('goes on where it was, and gives what it would have given', async () => {
    const [data, whole] = [await folder(), await folder()]
    const from = await file(data, 'menus.jsonl', `${lines(texts(400, 800))}\nnonsense`)
    const uninterrupted = await importFile({ data: whole, file: from, stateEvery: 200_000, buckets: 3 })
    expect(await kill(data, from, 2)).toBe('SIGKILL') // while it reads
    expect(await kill(data, from, 1)).toBe('SIGKILL')
    let first: number | null = null
    const resumed = await importFile({
      ...{ data, file: from, stateEvery: 200_000, buckets: 3 },
      saved: (state) => {
        first ??= state.items
      },
    })
    expect(first).toBeGreaterThan(100)
    expect(resumed).toEqual(uninterrupted)
  }, 60_000)

  test('while it tokenises goes on with the next bucket', async () => {
    const [data, whole] = [await folder(), await folder()]
    const from = await file(data, 'menus.jsonl', lines(texts(200, 50)))
    const uninterrupted = await importFile({ data: whole, file: from, buckets: 3 })
    expect(await kill(data, from, 4)).toBe('SIGKILL') // after: all read, tokenizer, validation, a bucket
    const done: number[] = []
    const resumed = await importFile({
      data,
      file: from,
      buckets: 3,
      saved: ({ bucketsDone }) => done.push(bucketsDone),
    })
    expect(done).toEqual([3, 4])
    expect(resumed).toEqual(uninterrupted)
  }, 60_000)

  test('begins anew when its file has changed meanwhile', async () => {
    const data = await folder()
    const from = await file(data, 'menus.jsonl', lines(texts(400, 800)))
    expect(await kill(data, from, 2)).toBe('SIGKILL')
    await writeFile(from, lines(texts(50)))
    await utimes(from, 1, 1)
    expect((await importFile({ data, file: from })).documents).toBe(50)
  }, 60_000)
})
