import { beforeEach, describe, expect, it } from 'vitest'
import { CODECS } from '../../shared/codec/codec.ts'
import { floatsToBytes } from '../../shared/codec/floats.ts'
import type { FragmentView } from '../../shared/protocol/run.ts'
import { BlobStore } from './blobStore.ts'
import { FakeCoordinator, MemoryFolder, never } from './fakes.ts'
import { GlobalWeights } from './weights.ts'

const PARAMETERS = 8
const SNAPSHOT = 32
const DELTA = CODECS.f16.byteLength(PARAMETERS)
// Powers of two not far from one another lose nothing in f16.
const DELTAS = [
  [1, 0.5, 0.25, 0, -1, -0.5, 0.125, 2 ** -9],
  [1, 1, 0, 2 ** -10, 0.5, -1, 0.25, 2 ** -8],
].map((values) => Float32Array.from(values))

let coordinator: FakeCoordinator
let folder: MemoryFolder
/** w0, w0 + d0, (w0 + d0) + d1, each rounded to f32. */
let states: Float32Array<ArrayBuffer>[]
let hashes: string[]
let deltas: FragmentView['deltas']

beforeEach(async () => {
  coordinator = new FakeCoordinator()
  folder = new MemoryFolder()
  // 2^24 + 1 is no f32: added twice with rounding it stays 2^24, at once it becomes 2^24 + 2.
  let now = Float32Array.of(2 ** 24, 1 / 3, -0, 0.1, 1, 2, 3, 1)
  states = [now]
  for (const delta of DELTAS) {
    now = now.map((w, i) => Math.fround(w + (delta[i] ?? 0)))
    states.push(now)
  }
  hashes = await Promise.all(states.map((state) => coordinator.put(floatsToBytes(state))))
  deltas = await Promise.all(
    DELTAS.map(async (delta, i) => ({
      from: hashes[i] ?? '',
      hash: await coordinator.put(CODECS.f16.encode(delta)),
      bytes: DELTA,
      codec: 'f16' as const,
    })),
  )
})

/** State `newest`, with the deltas that lead there from state `oldest`. */
function view(newest: number, oldest = 0, bytes = SNAPSHOT): FragmentView {
  return { hash: hashes[newest] ?? '', bytes, deltas: deltas.slice(oldest, newest) }
}

/** As of a page opened just now. */
function open() {
  const store = new BlobStore(folder)
  const weights = new GlobalWeights({ store, fetch: coordinator.fetch, pause: async () => undefined })
  const get = (v: FragmentView, index = 0) => weights.fragment(index, v, PARAMETERS, never)
  return { weights, get }
}

const asked = () => coordinator.requests.map(({ hash }) => hash)

describe('global weights', () => {
  it('[W1] the first time, the snapshot', async () => {
    const { weights, get } = open()
    expect(await get(view(2))).toEqual(states[2])
    expect(asked()).toEqual([hashes[2]])
    expect(weights.downloaded).toBe(SNAPSHOT)
    expect(weights.hashes).toEqual([hashes[2]])
  })

  it('[W1] then the delta alone', async () => {
    const { weights, get } = open()
    await get(view(0))
    expect(await get(view(1))).toEqual(states[1])
    expect(asked()).toEqual([hashes[0], deltas[0]?.hash])
    expect(weights.downloaded).toBe(SNAPSHOT + DELTA)
  })

  it('[W1] two deltas when they cost less than the snapshot, with rounding after each', async () => {
    const { get } = open()
    await get(view(0))
    const values = await get(view(2, 0, 2 * DELTA + 1))
    expect(values).toEqual(states[2])
    expect(values[0]).toBe(2 ** 24)
    expect(asked()).toEqual([hashes[0], ...deltas.map(({ hash }) => hash)])
  })

  it('[W1] the snapshot when the deltas cost as much', async () => {
    const { get } = open()
    await get(view(0))
    expect(await get(view(2, 0, 2 * DELTA))).toEqual(states[2])
    expect(asked()).toEqual([hashes[0], hashes[2]])
  })

  it('[W1] the snapshot when the way does not pass what is held', async () => {
    const { get } = open()
    await get(view(0))
    expect(await get(view(2, 1))).toEqual(states[2])
    expect(asked()).toEqual([hashes[0], hashes[2]])
  })

  it('[W1] nothing when it is held already', async () => {
    const { get } = open()
    const first = await get(view(1))
    expect(await get(view(1))).toBe(first)
    expect(asked()).toHaveLength(1)
  })

  it('[W2] the snapshot when a delta is missing', async () => {
    const { get } = open()
    await get(view(0))
    coordinator.blobs.delete(deltas[1]?.hash ?? '')
    expect(await get(view(2, 0, 99))).toEqual(states[2])
    expect(asked().at(-1)).toBe(hashes[2])
  })

  it('[W2] the snapshot when the sum is another', async () => {
    const { get } = open()
    await get(view(0))
    const wrong = { ...view(1), deltas: [{ ...view(1).deltas[0], hash: deltas[1]?.hash }] } as FragmentView
    expect(await get(wrong)).toEqual(states[1])
    expect(asked()).toEqual([hashes[0], deltas[1]?.hash, hashes[1]])
  })

  it('[W2] the snapshot when a delta is no delta', async () => {
    const { get } = open()
    await get(view(0))
    const short = await coordinator.put(new Uint8Array(5))
    const wrong = { ...view(1), deltas: [{ ...view(1).deltas[0], hash: short }] } as FragmentView
    expect(await get(wrong)).toEqual(states[1])
  })

  it('[W2] a snapshot that is gone, or of another length, is the caller’s error', async () => {
    const { weights, get } = open()
    coordinator.blobs.delete(hashes[0] ?? '')
    await expect(get(view(0))).rejects.toMatchObject({ code: 'not-found' })
    const other = weights.fragment(0, view(1), PARAMETERS + 1, never)
    await expect(other).rejects.toMatchObject({ code: 'bad-blob' })
  })

  it('[W3] a reload downloads nothing, after a snapshot as after a delta', async () => {
    await open().get(view(0))
    expect(await open().get(view(0))).toEqual(states[0])
    await open().get(view(1))
    const { weights, get } = open()
    expect(await get(view(1))).toEqual(states[1])
    expect(asked()).toEqual([hashes[0], deltas[0]?.hash])
    expect(weights.downloaded).toBe(0)
  })

  it('[W3] older states and deltas leave the disk', async () => {
    const { get } = open()
    await get(view(0))
    await get(view(1))
    await get(view(2, 2)) // by snapshot, and no delta names the one before
    expect(folder.names.filter((name) => name.length === 64)).toEqual([hashes[2]])
  })

  it('[W3] what another fragment still holds stays', async () => {
    const { get } = open()
    await get(view(0), 0)
    await get(view(0), 1)
    await get(view(1), 1)
    expect(folder.names.filter((name) => name.length === 64)).toEqual([hashes[0], hashes[1]].sort())
  })

  it('[W5] what is pinned stays on disk and can be read, until something else is', async () => {
    const { weights, get } = open()
    await get(view(0))
    await weights.pin([hashes[0] ?? ''])
    await get(view(2))
    expect(folder.names.filter((name) => name.length === 64)).toEqual([hashes[0], hashes[2]].sort())
    expect(weights.hashes.sort()).toEqual([hashes[0], hashes[2]].sort())
    expect(await weights.here(0, hashes[0] ?? '', PARAMETERS)).toEqual(states[0])
    expect(await weights.here(0, hashes[1] ?? '', PARAMETERS)).toBeNull() // never was a snapshot here
    await weights.pin([hashes[2] ?? ''])
    expect(folder.names.filter((name) => name.length === 64)).toEqual([hashes[2]])
    await weights.pin([])
    expect(await weights.here(0, hashes[2] ?? '', PARAMETERS)).toEqual(states[2]) // it is the newest still
  })

  it('[W4] what was returned stays as it was', async () => {
    const { get } = open()
    const first = await get(view(0))
    await get(view(1))
    expect(first).toEqual(states[0])
  })

  it('tells how much came of how much', async () => {
    const { weights, get } = open()
    await get(view(0))
    const heard: [number, number][] = []
    coordinator.chunk = DELTA / 2
    await weights.fragment(0, view(1), PARAMETERS, never, (...both) => heard.push(both))
    expect(heard).toEqual([
      [DELTA / 2, DELTA],
      [DELTA, DELTA],
    ])
  })

  it('an abort rejects with its reason and leaves what is held', async () => {
    const { weights, get } = open()
    await get(view(0))
    const stopped = new AbortController()
    const reason = new Error('stopped')
    const stop = () => stopped.abort(reason)
    await expect(weights.fragment(0, view(1), PARAMETERS, stopped.signal, stop)).rejects.toBe(reason)
    expect(weights.hashes).toEqual([hashes[0]])
    expect(await get(view(1))).toEqual(states[1])
  })
})
