/** How blobs are fetched and kept (RULES.md B1 to B6): run over OPFS in a browser and over memory in Node. */
import { describe, expect, it } from 'vitest'
import { BlobStore } from './blobStore.ts'
import { fetchBlob, traffic } from './blobs.ts'
import { FakeCoordinator, type Fault, never, someBytes } from './fakes.ts'
import type { Folder } from './folder.ts'

const LENGTH = 23
const PART = 8

export function blobsContract(name: string, makeEmpty: () => Promise<Folder>): void {
  async function setUp() {
    const folder = await makeEmpty()
    const coordinator = new FakeCoordinator()
    const blob = someBytes(LENGTH)
    const hash = await coordinator.put(blob)
    const pauses: number[] = []
    const pause = async (attempt: number) => void pauses.push(attempt)
    /** As from a page opened just now. */
    const get = (signal = never, onBytes?: (received: number) => void) => {
      const store = new BlobStore(folder, { partBytes: PART, estimate: async () => ({}) })
      return fetchBlob(hash, signal, onBytes, { store, fetch: coordinator.fetch, pause })
    }
    const names = async () => (await folder.list()).map((entry) => entry.name.replace(hash, '#')).sort()
    const ranges = () => coordinator.requests.map(({ range }) => range)
    return { folder, coordinator, blob, hash, pauses, get, names, ranges }
  }

  describe(name, () => {
    it('[B1] fetches once, then reads from disk', async () => {
      const { get, blob, coordinator, names } = await setUp()
      const before = traffic.down
      expect(await get()).toEqual(blob)
      expect(await names()).toEqual(['#'])
      expect(traffic.down - before).toBe(LENGTH)
      const heard: number[] = []
      expect(await get(never, (n) => heard.push(n))).toEqual(blob)
      expect(heard).toEqual([LENGTH])
      expect(coordinator.requests).toHaveLength(1)
      expect(traffic.down - before).toBe(LENGTH)
    })

    it.each([
      ['a bit turned over', (bytes: Uint8Array) => bytes.with(5, (bytes[5] ?? 0) ^ 4)],
      ['the end missing', (bytes: Uint8Array) => bytes.slice(0, 20)],
      ['nothing in it', () => new Uint8Array()],
    ])('[B1] a file with %s is fetched again, and whole afterwards', async (_damage, damaged) => {
      const { get, blob, hash, coordinator, folder } = await setUp()
      await get()
      await folder.write(hash, [Uint8Array.from(damaged(blob))])
      expect(await get()).toEqual(blob)
      expect(coordinator.requests).toHaveLength(2)
      expect(await get()).toEqual(blob)
      expect(coordinator.requests).toHaveLength(2)
    })

    it('[B2] whatever byte the connection breaks at, no byte comes twice', async () => {
      const { get, blob, coordinator, folder, hash } = await setUp()
      for (let cut = 0; cut <= LENGTH; cut++) {
        for (const silent of [false, true]) {
          await folder.remove(hash)
          coordinator.sent = 0
          coordinator.requests.length = 0
          coordinator.faults.push({ cutAfter: cut, silent })
          expect(await get(), `cut at ${cut}`).toEqual(blob)
          expect(coordinator.sent).toBe(LENGTH)
          // A break at the very end hides nothing that is still needed.
          const second = cut === LENGTH ? [] : [cut === 0 ? null : `bytes=${cut}-`]
          expect(coordinator.requests.map(({ range }) => range)).toEqual([null, ...second])
          coordinator.faults.length = 0
        }
      }
    })

    it('[B2] a connection that breaks again and again', async () => {
      const { get, blob, coordinator, pauses, ranges } = await setUp()
      coordinator.faults.push({ cutAfter: 4 }, { cutAfter: 0 }, { offline: true }, { cutAfter: 9 })
      const heard: number[] = []
      expect(await get(never, (n) => heard.push(n))).toEqual(blob)
      expect(ranges()).toEqual([null, 'bytes=4-', 'bytes=4-', 'bytes=4-', 'bytes=13-'])
      expect(heard).toEqual([3, 4, 7, 10, 13, 16, 19, 22, 23])
      expect(pauses).toEqual([0, 1, 2, 0])
    })

    it('[B3] an answer of 200 to a range begins from the start', async () => {
      const { get, blob, coordinator, ranges } = await setUp()
      coordinator.faults.push({ cutAfter: 10 }, { ignoreRange: true, cutAfter: 12 })
      expect(await get()).toEqual(blob)
      expect(ranges()).toEqual([null, 'bytes=10-', 'bytes=12-'])
    })

    it('[B3] a range that begins elsewhere is thrown away', async () => {
      const { get, blob, coordinator, ranges } = await setUp()
      coordinator.faults.push({ cutAfter: 10 }, { shift: 2 })
      expect(await get()).toEqual(blob)
      expect(ranges()).toEqual([null, 'bytes=10-', null])
    })

    it('[B3] 416 means that nothing is missing', async () => {
      const { get, blob, coordinator, ranges } = await setUp()
      coordinator.faults.push({ cutAfter: LENGTH, lengthless: true })
      expect(await get()).toEqual(blob)
      expect(ranges()).toEqual([null, `bytes=${LENGTH}-`])
    })

    it('[B4] damage is fetched again from the start, three times in all', async () => {
      const { get, blob, coordinator, ranges } = await setUp()
      coordinator.faults.push({ flip: true }, { flip: true })
      expect(await get()).toEqual(blob)
      expect(ranges()).toEqual([null, null, null])
      expect(coordinator.requests.map(({ cache }) => cache)).toEqual(['no-store', 'reload', 'reload'])
      const other = await setUp()
      other.coordinator.faults.push({ flip: true }, { flip: true }, { flip: true })
      await expect(other.get()).rejects.toMatchObject({ name: 'BlobError', code: 'bad-blob' })
      expect(await other.names()).toEqual([])
    })

    it('[B4] damage before a break is damage of the whole', async () => {
      const { get, blob, coordinator, ranges } = await setUp()
      coordinator.faults.push({ flip: true, cutAfter: 6 })
      expect(await get()).toEqual(blob)
      expect(ranges()).toEqual([null, 'bytes=6-', null])
    })

    it('[B4] after damage, every byte counts as getting on again', async () => {
      const { get, blob, coordinator, pauses } = await setUp()
      coordinator.faults.push({ flip: true, cutAfter: 20 }, {}, { cutAfter: 5 })
      expect(await get()).toEqual(blob)
      expect(pauses).toEqual([0, 1, 0])
    })

    it('[B4] a 404 ends it at once, also midway', async () => {
      const { get, coordinator } = await setUp()
      coordinator.faults.push({ cutAfter: 6 }, { status: 404 })
      await expect(get()).rejects.toMatchObject({ name: 'BlobError', code: 'not-found' })
      expect(coordinator.requests).toHaveLength(2)
    })

    it('[B4] a coordinator that cannot is asked again, later and later', async () => {
      const { get, blob, coordinator, pauses } = await setUp()
      const faults: Fault[] = [{ offline: true }, { status: 503 }, { status: 500 }, { status: 429 }]
      coordinator.faults.push(...faults)
      expect(await get()).toEqual(blob)
      expect(pauses).toEqual([0, 1, 2, 3])
    })

    it('[B5] a page opened after a break goes on behind the last whole piece', async () => {
      const { get, blob, coordinator, names, ranges } = await setUp()
      const closed = new AbortController()
      const close = (received: number) => {
        if (received >= 18) closed.abort(new Error('closed'))
      }
      coordinator.faults.push({ cutAfter: 18 })
      await expect(get(closed.signal, close)).rejects.toThrow('closed')
      expect(await names()).toEqual(['#.0.part', '#.1.part'])
      expect(await get()).toEqual(blob)
      expect(ranges()).toEqual([null, 'bytes=16-'])
      expect(await names()).toEqual(['#'])
    })

    it('[B5] pieces that are damaged or torn cost a second fetch, no more', async () => {
      const { get, blob, hash, coordinator, folder, names, ranges } = await setUp()
      await folder.write(`${hash}.0.part`, [someBytes(PART, 7)])
      await folder.write(`${hash}.1.part`, [someBytes(PART - 1, 8)])
      expect(await get()).toEqual(blob)
      expect(ranges()).toEqual([`bytes=${PART}-`, null])
      expect((await names()).filter((file) => file !== '#.1.part')).toEqual(['#'])
      expect(coordinator.requests.at(-1)?.cache).toBe('reload')
    })

    it('an aborted fetch rejects with the reason, also while it waits', async () => {
      const { folder, hash } = await setUp()
      const reason = new Error('stopped')
      const options = { store: new BlobStore(folder), fetch: new FakeCoordinator().fetch }
      await expect(fetchBlob(hash, AbortSignal.abort(reason), undefined, options)).rejects.toBe(reason)
      const later = new AbortController()
      const offline = async () => {
        later.abort(reason)
        throw new TypeError('Failed to fetch')
      }
      const waiting = fetchBlob(hash, later.signal, undefined, { ...options, fetch: offline })
      await expect(waiting).rejects.toBe(reason)
    })
  })
}
