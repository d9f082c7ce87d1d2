import { beforeEach, describe, expect, it, vi } from 'vitest'
import { BlobStore, STORE_LIMITS } from './blobStore.ts'
import { MemoryFolder, someBytes } from './fakes.ts'
import { sha256 } from './sha256.ts'

const SIZE = 100
const blobs = await Promise.all(
  [1, 2, 3, 4].map(async (seed) => {
    const bytes = someBytes(SIZE, seed)
    return { bytes, hash: await sha256(bytes) }
  }),
)
const hashes = blobs.map(({ hash }) => hash)
const [a = '', b = '', c = '', d = ''] = hashes

let folder: MemoryFolder
/** Of the origin beside the blobs. */
let otherData: number
let quota: number | undefined
const estimate = async () => ({ usage: folder.used + otherData, quota })
const letters = () =>
  folder.names.filter((name) => name.length === 64).map((name) => 'abcd'[hashes.indexOf(name)])
const held = () => letters().sort().join('')

async function storeOfAll(): Promise<BlobStore> {
  const store = new BlobStore(folder, { estimate })
  for (const { hash, bytes } of blobs) await store.keep(hash, bytes)
  return store
}

beforeEach(() => {
  folder = new MemoryFolder()
  otherData = 0
  quota = undefined
})

it('[B1] a file is checked at its first reading by a page, and at no later one', async () => {
  await storeOfAll()
  const store = new BlobStore(folder, { estimate })
  const digest = vi.spyOn(crypto.subtle, 'digest')
  for (const _ of [1, 2, 3]) expect(await store.read(a)).toEqual(blobs[0]?.bytes)
  expect(digest).toHaveBeenCalledTimes(1)
  digest.mockRestore()
})

describe('prune', () => {
  it('[B7] lets everything lie while there is room', async () => {
    quota = 1600
    const store = await storeOfAll()
    await store.prune(new Set())
    expect(held()).toBe('abcd')
  })

  it('[B7] over a quarter of the quota, the longest unused go', async () => {
    const store = await storeOfAll()
    quota = 1000 // 250 bytes
    await store.prune(new Set())
    expect(held()).toBe('cd')
  })

  it('[B7] a use counts like a write, and is known to the next page', async () => {
    await (await storeOfAll()).read(a)
    quota = 1000
    await new BlobStore(folder, { estimate }).prune(new Set())
    expect(held()).toBe('ad')
    expect(folder.names.filter((name) => name.endsWith('.used'))).toEqual([`${a}.used`])
  })

  it('[B7] those in use go last', async () => {
    const store = await storeOfAll()
    quota = 1000
    await store.prune(new Set([a, b]))
    expect(held()).toBe('ab')
    quota = 400
    await store.prune(new Set([a, b]))
    expect(held()).toBe('b')
  })

  it('[B7] pieces of an unfinished blob count and go with it', async () => {
    const store = new BlobStore(folder, { estimate, partBytes: SIZE })
    await store.keepPart(d, 0, someBytes(SIZE))
    await store.keepPart(d, 1, someBytes(SIZE))
    await store.keep(a, blobs[0]?.bytes ?? new Uint8Array())
    quota = 1000
    await store.prune(new Set())
    expect(folder.names).toEqual([a])
  })

  it('[B8] other data pushes out what is not in use, and only that', async () => {
    const store = await storeOfAll()
    quota = 4000
    otherData = 900
    await store.prune(new Set([a, b]))
    expect(held()).toBe('ab')
  })

  it('a blob larger than all blobs may be is not written', async () => {
    quota = 399
    expect(await new BlobStore(folder, { estimate }).keep(a, blobs[0]?.bytes ?? new Uint8Array())).toBe(false)
    expect(folder.writes).toBe(0)
  })

  it('[B7] the first blob that a page writes makes room by itself, and stays', async () => {
    await storeOfAll()
    quota = 1000
    const store = new BlobStore(folder, { estimate })
    expect(STORE_LIMITS.bytesBetweenCounts).toBeGreaterThan(SIZE)
    await store.keep(a, blobs[0]?.bytes ?? new Uint8Array())
    expect(held()).toBe('ad')
  })

  it('leaves files alone that are none of its own', async () => {
    await folder.write('notes', [someBytes(5000)])
    const store = await storeOfAll()
    quota = 400
    await store.prune(new Set())
    expect(folder.names).toContain('notes')
  })
})

describe('[B9] a full disk', () => {
  it('drops what is not in use, then has room', async () => {
    const store = await storeOfAll()
    await store.prune(new Set([b]))
    folder.capacity = 450
    const large = someBytes(300, 9)
    expect(await store.keep(await sha256(large), large)).toBe(true)
    expect(held()).toBe('b')
  })

  it('goes on in memory when that is not enough, until the next prune', async () => {
    const store = await storeOfAll()
    await store.prune(new Set([a, b, c, d]))
    folder.capacity = 400
    const e = someBytes(50, 9)
    const hash = await sha256(e)
    expect(await store.keep(hash, e)).toBe(false)
    folder.capacity = 1000
    expect(await store.keep(hash, e)).toBe(false)
    expect(held()).toBe('abcd')
    await store.prune(new Set([a]))
    expect(await store.keep(hash, e)).toBe(true)
  })
})
