/** Blobs that a group fetches once, over links in memory, from a coordinator that counts what it gives. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { pieceOf } from '../../shared/mesh/slices.ts'
import { ROUTES } from '../../shared/protocol/admin.ts'
import type { PeerHeader } from '../../shared/protocol/mesh.ts'
import { sha256 } from '../storage/sha256.ts'
import { type FakeMember, fakeGroup } from './fakes.ts'
import { sourceOf } from './link.ts'
import { SharedBlobs } from './sharedBlobs.ts'

const BYTES = 100_003
const LARGEST = 200_000
const blob = Uint8Array.from({ length: BYTES }, (_, i) => (i * i) & 255)
const never = new AbortController().signal

let hash = ''
/** Ranges that the coordinator was asked for. */
let asked: string[] = []
let answer: (first: number, end: number) => Response = range

function range(first: number, end: number): Response {
  return new Response(blob.slice(first, end), { status: 206 })
}

beforeEach(async () => {
  hash = await sha256(blob)
  asked = []
  answer = range
  vi.stubGlobal('fetch', async (url: string, init: RequestInit) => {
    init.signal?.throwIfAborted()
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec((init.headers as { range: string }).range) ?? [] // as sharedBlobs.ts asks
    expect(url).toBe(ROUTES.blob(hash))
    asked.push(`${first}-${last}`)
    return answer(Number(first), Number(last) + 1)
  })
})
afterEach(() => {
  vi.unstubAllGlobals()
  vi.useRealTimers()
})

type Tab = { member: FakeMember; blobs: SharedBlobs }

const tabs = (size: number): Tab[] =>
  fakeGroup(size).map((member) => {
    const blobs = new SharedBlobs(member, () => LARGEST)
    member.accept = (from, header: Extract<PeerHeader, { kind: 'blob' }>) => blobs.accept(from, header)
    return { member, blobs }
  })

/** Bytes of the coordinator's answers. */
const given = () =>
  asked.reduce((sum, text) => {
    const [first = 0, last = 0] = text.split('-').map(Number)
    return sum + last - first + 1
  }, 0)

/** One member's piece, or what it says is one. */
function sendPiece(from: Tab, to: number, bytes: Uint8Array, more: object = {}): Promise<void> {
  const { size, index } = from.member.message
  const { first, end } = pieceOf(BYTES, size, index)
  const header = { kind: 'blob', hash, first, total: BYTES, bytes: end - first, ...more }
  return from.member.link(to)?.send(header, sourceOf(bytes)) ?? Promise.reject(new Error('no link'))
}

const pieceFor = (index: number, size: number) => {
  const { first, end } = pieceOf(BYTES, size, index)
  return blob.slice(first, end)
}

/** What is waited for does not come: the time passes by itself. */
async function impatient<T>(work: () => Promise<T>): Promise<T> {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  const done = work()
  for (let i = 0; i < 100; i++) await vi.advanceTimersByTimeAsync(100)
  vi.useRealTimers()
  return done
}

describe('a group', () => {
  test.each([2, 3, 8])('of %i fetches each byte once', async (size) => {
    const all = tabs(size)
    const got = await Promise.all(all.map(({ blobs }) => blobs.fetch(hash, BYTES, never)))
    for (const bytes of got) expect(Buffer.compare(bytes ?? new Uint8Array(), blob)).toBe(0)
    expect(given()).toBe(BYTES)
    expect(asked).toHaveLength(size)
  })

  test('may begin at different times', async () => {
    const all = tabs(3)
    const [first, ...others] = all as [Tab, Tab, Tab]
    const early = others.map(({ blobs }) => blobs.fetch(hash, BYTES, never))
    await new Promise((resolve) => setTimeout(resolve, 50))
    const late = first.blobs.fetch(hash, BYTES, never)
    for (const bytes of await Promise.all([...early, late])) {
      expect(Buffer.compare(bytes ?? new Uint8Array(), blob)).toBe(0)
    }
    expect(given()).toBe(BYTES)
  })

  test('fetches a piece that does not come from the coordinator', async () => {
    const [first, second] = tabs(3) as [Tab, Tab, Tab] // the third sleeps
    const got = await impatient(() =>
      Promise.all([first, second].map(({ blobs }) => blobs.fetch(hash, BYTES, never))),
    )
    for (const bytes of got) expect(Buffer.compare(bytes ?? new Uint8Array(), blob)).toBe(0)
    const { first: from, end } = pieceOf(BYTES, 3, 2)
    expect(asked.filter((text) => text === `${from}-${end - 1}`)).toHaveLength(2)
  })

  test('does not wait for a group that is whole no more', async () => {
    const [first] = tabs(3) as [Tab, Tab, Tab]
    Object.assign(first.member, { whole: false })
    expect(await first.blobs.fetch(hash, BYTES, never)).not.toBeNull()
    expect(given()).toBe(BYTES)
  })

  test('believes no piece, only the hash of the whole: a liar costs one more request', async () => {
    const [first, liar] = tabs(2) as [Tab, Tab]
    const lie = pieceFor(1, 2)
    lie[1_000] = (lie[1_000] ?? 0) ^ 1
    await sendPiece(liar, 0, lie)
    expect(await first.blobs.fetch(hash, BYTES, never)).toBeNull()
    expect(await impatient(() => first.blobs.fetch(hash, BYTES, never))).not.toBeNull() // the lie is forgotten
  })

  test('takes only the piece that is a member’s own, of a blob that there can be, once', async () => {
    const [first, second] = tabs(3) as [Tab, Tab, Tab]
    const piece = pieceFor(1, 3)
    const refused = (more: object, bytes: Uint8Array = piece) =>
      expect(sendPiece(second, 0, bytes, { bytes: bytes.length, ...more })).rejects.toThrow(
        'does not want it',
      )
    await refused({ first: 0 })
    await refused({}, piece.slice(1))
    await refused({ total: BYTES + 9 })
    const tooLarge = pieceOf(LARGEST + 1, 3, 1)
    await refused(
      { total: LARGEST + 1, first: tooLarge.first },
      new Uint8Array(tooLarge.end - tooLarge.first),
    )
    await sendPiece(second, 0, piece)
    await refused({})
    const got = await impatient(() => first.blobs.fetch(hash, BYTES, never))
    expect(Buffer.compare(got ?? new Uint8Array(), blob)).toBe(0)
    expect(asked).not.toContain(`${pieceOf(BYTES, 3, 1).first}-${pieceOf(BYTES, 3, 1).end - 1}`)
  })

  test('is not misled by who makes up another size of the blob beforehand', async () => {
    const [first, second, liar] = tabs(3) as [Tab, Tab, Tab]
    const total = 3 * 40_000
    await sendPiece(liar, 0, new Uint8Array(40_000), { total, first: 80_000, bytes: 40_000 })
    const got = await impatient(async () => {
      const fetched = first.blobs.fetch(hash, BYTES, never)
      await sendPiece(second, 0, pieceFor(1, 3))
      return fetched
    })
    expect(Buffer.compare(got ?? new Uint8Array(), blob)).toBe(0)
  })

  test('lets a member be sending few pieces at a time', async () => {
    const [first, second] = tabs(2) as [Tab, Tab]
    const { first: from, end } = pieceOf(BYTES, 2, 1)
    const offer = (i: number) => {
      const other = `${i}`.padStart(64, 'f')
      const header = { kind: 'blob', hash: other, first: from, total: BYTES, bytes: end - from } as const
      return first.blobs.accept(second.member.message.index, header)
    }
    const taken = [0, 1, 2, 3].map(offer)
    expect(taken).not.toContain(null)
    expect(offer(4)).toBeNull()
    taken[0]?.sink.fail('gone')
    await new Promise((resolve) => setTimeout(resolve))
    expect(offer(5)).not.toBeNull()
  })

  test('gives up when the coordinator gives no pieces', async () => {
    const [first] = tabs(2) as [Tab, Tab]
    answer = () => new Response(blob, { status: 200 })
    expect(await first.blobs.fetch(hash, BYTES, never)).toBeNull()
    answer = () => new Response(blob.slice(0, 7), { status: 206 })
    expect(await first.blobs.fetch(hash, BYTES, never)).toBeNull()
    answer = () => {
      throw new TypeError('network')
    }
    expect(await first.blobs.fetch(hash, BYTES, never)).toBeNull()
  })

  test('stops when it is told to', async () => {
    const [first] = tabs(2) as [Tab, Tab]
    const abort = new AbortController()
    const fetched = first.blobs.fetch(hash, BYTES, abort.signal)
    await new Promise((resolve) => setTimeout(resolve, 30))
    abort.abort(new Error('enough'))
    await expect(fetched).rejects.toThrow('enough')
  })
})
