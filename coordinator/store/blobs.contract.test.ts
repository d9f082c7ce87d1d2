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

  it('takes over a file, also when it has its bytes already', async () => {
    for (const name of ['one', 'two']) {
      const file = join(directory, 'incoming', name)
      await writeFile(file, abc)
      await store.adopt(file, ABC)
      expect(await store.get(ABC)).toEqual(abc)
    }
    expect(readdirSync(join(directory, 'incoming'))).toEqual([])
  })

  it('clears what was half written at start, but for the parts of uploads', async () => {
    const incoming = join(directory, 'incoming')
    await writeFile(join(incoming, 'half'), 'ha')
    await writeFile(join(incoming, 'lease-01.part'), 'ha')
    await clearIncoming(directory)
    expect(readdirSync(incoming)).toEqual(['lease-01.part'])
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
