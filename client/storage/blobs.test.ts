import { describe, expect, it } from 'vitest'
import { BlobStore } from './blobStore.ts'
import { fetchBlob } from './blobs.ts'
import { blobsContract } from './blobsContract.ts'
import { FakeCoordinator, MemoryFolder, NoFolder, never, someBytes } from './fakes.ts'
import { originFolder } from './folder.ts'
import { folderContract } from './folderContract.ts'

folderContract('a folder in memory', async () => new MemoryFolder())
blobsContract('blobs kept in memory', async () => new MemoryFolder())

describe('[B6] without storage', () => {
  it.each([
    ['no folder', new NoFolder()],
    ['no browser', originFolder('blobs')],
  ])('%s: the blob comes all the same, each time anew', async (_name, folder) => {
    const store = new BlobStore(folder)
    const coordinator = new FakeCoordinator()
    const blob = someBytes(20)
    const hash = await coordinator.put(blob)
    coordinator.faults.push({ cutAfter: 9 })
    const options = { store, fetch: coordinator.fetch, pause: async () => undefined }
    expect(await fetchBlob(hash, never, undefined, options)).toEqual(blob)
    expect(await fetchBlob(hash, never, undefined, options)).toEqual(blob)
    expect(coordinator.requests.map(({ range }) => range)).toEqual([null, 'bytes=9-', null])
    expect(coordinator.requests[0]?.cache).toBe('default') // the HTTP cache has to do
    await store.prune(new Set())
  })

  it('a body without a length is whole when it ends', async () => {
    const coordinator = new FakeCoordinator()
    coordinator.chunk = 50_000
    const blob = someBytes(200_000) // the buffer grows more than once
    const hash = await coordinator.put(blob)
    coordinator.faults.push({ lengthless: true })
    const options = { store: new BlobStore(new NoFolder()), fetch: coordinator.fetch }
    // fetchBlob has compared the hash; to compare 200,000 values here takes a second.
    expect(await fetchBlob(hash, never, undefined, options)).toHaveLength(200_000)
    expect(coordinator.requests).toHaveLength(1)
  })
})
