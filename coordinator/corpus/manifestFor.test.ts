import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { manifestToBytes } from '../../shared/corpus/manifest.ts'
import type { BlobStore } from '../store/blobs.ts'
import { openFileBlobStore } from '../store/fileBlobs.ts'
import { smallRun } from '../testing.ts'
import { manifestFor } from './manifestFor.ts'
import { type CorpusRequest, prepareCorpus } from './prepare.ts'

// Building is tested in prepare.test.ts and takes seconds; this makes three blobs and a manifest of what was asked for.
vi.mock('./prepare.ts', () => ({ prepareCorpus: vi.fn() }))

let folder: string
let blobs: BlobStore
const settings = new Map<string, string>()
const store = {
  corpora: async () => [],
  setting: async (key: string) => settings.get(key) ?? null,
  setSetting: async (key: string, value: string | null) => void settings.set(key, value ?? ''),
}
const made: { tokenizer: string; shard: string; manifestHash: string }[] = []
const manifest = (change: Partial<typeof smallRun> = {}) =>
  manifestFor(
    { ...smallRun, ...change },
    { store, blobs, blobDirectory: folder, signal: new AbortController().signal },
  )

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'potluck-manifest-'))
  blobs = await openFileBlobStore(folder)
  settings.clear()
  made.length = 0
  vi.mocked(prepareCorpus).mockImplementation(async ({ vocabSize, sequenceLength, seed }: CorpusRequest) => {
    const put = (text: string) => blobs.put(new TextEncoder().encode(text))
    const [tokenizer, shard] = [await put('a tokenizer'), await put(`text in the order of ${seed}`)]
    const shards = [{ hash: shard, sequences: 1 }]
    const about = { version: 1, name: 'test', licence: 'none', vocabSize, sequenceLength } as const
    const bytes = manifestToBytes({ ...about, tokenizer, training: shards, validation: shards })
    const manifestHash = await blobs.put(bytes)
    made.push({ tokenizer, shard, manifestHash })
    return { manifestHash }
  })
})
afterEach(() => rm(folder, { recursive: true, force: true }))

it('the embedded corpus is built once for each model’s shape and each seed', async () => {
  const first = await manifest()
  expect(await manifest({ innerSteps: 9 })).toBe(first)
  expect(made.map(({ manifestHash }) => manifestHash)).toEqual([first])
  const [reseeded, larger] = [await manifest({ seed: 'another' }), await manifest({ preset: 'micro' })]
  expect(new Set([first, reseeded, larger]).size).toBe(3)
  expect(made).toHaveLength(3)
  expect(await manifest()).toBe(first)
  expect(made).toHaveLength(3)
})

it.each(['tokenizer', 'shard', 'manifestHash'] as const)(
  'it is built again when its %s is lost',
  async (part) => {
    const first = await manifest()
    const lost = made[0]?.[part] ?? ''
    await blobs.delete(lost)
    expect(await manifest()).toBe(first)
    expect(made).toHaveLength(2)
    expect(await blobs.has(lost)).toBe(true)
  },
)
