/** OPFS itself, in a real browser: the contracts, and what only a browser does. */
import { afterEach, expect, test } from 'vitest'
import { blobStore } from './blobStore.ts'
import { fetchBlob } from './blobs.ts'
import { blobsContract } from './blobsContract.ts'
import { FakeCoordinator, never, someBytes } from './fakes.ts'
import { originFolder } from './folder.ts'
import { folderContract } from './folderContract.ts'
import { forgetReplicas, loadReplica, saveReplica } from './replica.ts'

async function emptyFolder(name: string) {
  const root = await navigator.storage.getDirectory()
  const potluck = await root.getDirectoryHandle('potluck', { create: true })
  await potluck.removeEntry(name, { recursive: true }).catch(() => undefined) // was not there
  return originFolder(name)
}

folderContract('OPFS', () => emptyFolder('test'))
blobsContract('blobs kept in OPFS', () => emptyFolder('test'))

afterEach(async () => {
  const root = await navigator.storage.getDirectory()
  await root.removeEntry('potluck', { recursive: true })
})

test('a large blob lies under potluck/blobs/<hash>, and is pruned when it is not in use', async () => {
  const coordinator = new FakeCoordinator()
  coordinator.chunk = 1_000_000
  const hash = await coordinator.put(someBytes(9_000_000))
  coordinator.faults.push({ cutAfter: 6_000_000 })
  const options = { fetch: coordinator.fetch, pause: async () => undefined }
  const blob = await fetchBlob(hash, never, undefined, options)
  expect(blob).toHaveLength(9_000_000)
  const root = await navigator.storage.getDirectory()
  const potluck = await root.getDirectoryHandle('potluck')
  const blobs = await potluck.getDirectoryHandle('blobs')
  expect((await (await blobs.getFileHandle(hash)).getFile()).size).toBe(9_000_000)
  expect(await fetchBlob(hash, never, undefined, options)).toHaveLength(9_000_000)
  expect(coordinator.sent).toBe(9_000_000)
  await blobStore.prune(new Set([hash]))
  expect(await blobStore.read(hash)).not.toBeNull()
  await blobStore.clearUnused()
  expect(await blobStore.read(hash)).not.toBeNull()
  await blobStore.prune(new Set())
  await blobStore.clearUnused()
  expect(await blobStore.read(hash)).toBeNull()
})

test('data cleared while the page is open costs a fetch, no error', async () => {
  const coordinator = new FakeCoordinator()
  const hash = await coordinator.put(someBytes(50))
  await fetchBlob(hash, never, undefined, { fetch: coordinator.fetch })
  const root = await navigator.storage.getDirectory()
  await root.removeEntry('potluck', { recursive: true })
  expect(await fetchBlob(hash, never, undefined, { fetch: coordinator.fetch })).toHaveLength(50)
  expect(await originFolder('blobs').list()).toHaveLength(1)
})

test('a replica of a million parameters survives', async () => {
  const length = 1_000_000
  const optimiser = {
    firstMoment: new Float32Array(length).fill(0.1),
    secondMoment: new Float32Array(length).fill(0.2),
    updates: 9,
  }
  const residual = Float32Array.from({ length }, (_, i) => 1 / (i + 1))
  expect(await saveReplica({ run: 'r1', round: 3, residual, optimiser })).toBe(true)
  const loaded = await loadReplica('r1', length)
  expect(loaded?.round).toBe(3)
  expect(indexedDB.cmp(loaded?.residual, residual)).toBe(0)
  expect(indexedDB.cmp(loaded?.optimiser.secondMoment, optimiser.secondMoment)).toBe(0)
  await forgetReplicas('r2')
  expect(await loadReplica('r1', length)).toBeNull()
})
