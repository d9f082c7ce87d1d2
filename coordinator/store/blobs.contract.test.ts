import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { BlobStore } from './blobs.ts'
import { clearIncoming, openFileBlobStore } from './fileBlobs.ts'

// SHA-256 of "abc", from FIPS 180-2, appendix B.1.
const ABC = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
const abc = new TextEncoder().encode('abc')

describe.each([['files', openFileBlobStore]])('a blob store of %s', (_name, openStore) => {
  let directory: string
  let store: BlobStore
  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'potluck-blobs-'))
    store = await openStore(directory)
  })
  afterEach(() => rmSync(directory, { recursive: true, force: true }))

  it('names bytes by their SHA-256 and gives them back', async () => {
    expect(await store.put(abc)).toBe(ABC)
    expect(await store.get(ABC)).toEqual(abc)
    expect(new Uint8Array(await readFile(store.path(ABC)))).toEqual(abc)
  })

  it('stores the same bytes twice without complaint, also at the same time', async () => {
    expect(await Promise.all([store.put(abc), store.put(abc), store.put(abc)])).toEqual([ABC, ABC, ABC])
    await clearIncoming(directory)
    expect(readdirSync(join(directory, 'incoming'))).toEqual([])
  })

  it('stores a stream that has the promised hash and length, and nothing else', async () => {
    async function* chunks(...texts: string[]) {
      for (const text of texts) yield new TextEncoder().encode(text)
    }
    const expected = { hash: ABC, bytes: 3 }
    expect(await store.putStream(chunks('a', 'b'), expected)).toBe('wrong-length')
    expect(await store.putStream(chunks('ab', 'cd', 'e'), expected)).toBe('wrong-length')
    expect(await store.putStream(chunks('abd'), expected)).toBe('hash-mismatch')
    expect(await store.has(ABC)).toBe(false)
    expect(await store.putStream(chunks('a', '', 'bc'), expected)).toBe('stored')
    expect(await store.get(ABC)).toEqual(abc)
    expect(readdirSync(join(directory, 'incoming'))).toEqual([])
  })

  it('keeps nothing of a stream that broke off', async () => {
    async function* broken() {
      yield abc
      throw new Error('connection reset')
    }
    await expect(store.putStream(broken(), { hash: ABC, bytes: 6 })).rejects.toThrow('connection reset')
    expect(readdirSync(join(directory, 'incoming'))).toEqual([])
  })

  it('says not-found for a hash it never saw', async () => {
    expect(await store.has(ABC)).toBe(false)
    await expect(store.get(ABC)).rejects.toMatchObject({ code: 'not-found', status: 404 })
  })

  it('says bad-blob when the bytes on disk have changed', async () => {
    await store.put(abc)
    await writeFile(store.path(ABC), 'abd')
    await expect(store.get(ABC)).rejects.toMatchObject({ code: 'bad-blob' })
  })

  it('forgets a deleted blob, and deleting twice is harmless', async () => {
    await store.put(abc)
    await store.delete(ABC)
    await store.delete(ABC)
    expect(await store.has(ABC)).toBe(false)
  })
})
