/**
 * Two members of a group in one page, joined by real WebRTC: rules T1 to T6. What is damaged or cut is what the page gives to
 * the data channel, since nothing on the way can change it unnoticed (DTLS).
 *
 * `VITE_MESH_MB=500 npx vitest run --project browser client/mesh/link` sends so many megabytes and says how fast.
 */
import { afterEach, expect, test } from 'vitest'
import { FRAME_BYTES } from './frames.ts'
import { MeshGroup } from './group.ts'
import type { LinkPorts, Sink, Source } from './link.ts'

const MEGABYTES = Number(import.meta.env.VITE_MESH_MB ?? 64)

/** A prime: no shift by whole frames looks like none. */
const PERIOD = 65_521
const TABLE = crypto.getRandomValues(new Uint8Array(PERIOD)) // 65,536 at most
const TWICE = new Uint8Array(2 * PERIOD)
TWICE.set(TABLE)
TWICE.set(TABLE, PERIOD)

/** Byte i is TABLE[i mod PERIOD]; made when it is read. */
function made(bytes: number, onRead: (end: number) => void = () => undefined): Source {
  return {
    bytes,
    read(offset, length) {
      onRead(offset + length)
      const begin = offset % PERIOD
      return TWICE.subarray(begin, begin + length)
    },
  }
}

/** Looks at each byte as it comes, and keeps none. */
class Checked implements Sink {
  taken = 0
  wrong = 0
  ended = false
  failed: string | null = null

  write(piece: Uint8Array<ArrayBuffer>): void {
    const begin = this.taken % PERIOD
    for (let i = 0; i < piece.length; i++) if (piece[i] !== TWICE[begin + i]) this.wrong += 1
    this.taken += piece.length
  }

  end(): void {
    this.ended = true
  }

  fail(why: string): void {
    this.failed = why
  }
}

interface Pair {
  readonly groups: readonly [MeshGroup, MeshGroup]
  /** By receiver, what came, in the order of the headers. */
  readonly got: readonly [Map<number, Checked>, Map<number, Checked>]
}

let open: MeshGroup[] = []
afterEach(() => {
  for (const group of open) group.close('The test is over.')
  open = []
  RTCDataChannel.prototype.send = sendAsItIs
})

async function until(test: () => boolean): Promise<void> {
  while (!test()) await new Promise((resolve) => setTimeout(resolve, 5))
}

/** Signals go through memory, one after another. */
async function pair(): Promise<Pair> {
  const got = [new Map<number, Checked>(), new Map<number, Checked>()] as const
  const groups: MeshGroup[] = []
  for (const index of [0, 1] as const) {
    const accept: LinkPorts['accept'] = (header) => {
      const { name, bytes } = header as { name: number; bytes: number } // as transfer() below sends them
      const sink = new Checked()
      got[index].set(name, sink)
      return { bytes, sink }
    }
    const message = { group: 'a-group', run: 'a-run', size: 2, index, iceServers: [] }
    groups[index] = new MeshGroup(message, {
      signal: (to, signal) => setTimeout(() => groups[to]?.relayed(index, signal)),
      linked: () => undefined,
      accept: (_from, header) => accept(header),
    })
  }
  open.push(...groups)
  await until(() => groups.every(({ whole }) => whole))
  return { groups: groups as [MeshGroup, MeshGroup], got } // both were made
}

function transfer({ groups }: Pair, from: 0 | 1, name: number, source: Source): Promise<void> {
  const link = groups[from].link(1 - from)
  return link?.send({ name, bytes: source.bytes }, source) ?? Promise.reject(new Error('no link'))
}

function expectWhole({ got }: Pair, to: 0 | 1, name: number, bytes: number): void {
  const { taken, wrong, ended, failed } = got[to].get(name) ?? new Checked()
  expect({ name, taken, wrong, ended, failed }).toEqual({
    name,
    taken: bytes,
    wrong: 0,
    ended: true,
    failed: null,
  })
}

const sendAsItIs = RTCDataChannel.prototype.send

/** Every frame that goes out of the page passes here. No mock of Vitest's, which would keep them all. */
function tamper(
  change: (frame: Uint8Array<ArrayBuffer>, channel: RTCDataChannel) => Uint8Array<ArrayBuffer>,
): void {
  RTCDataChannel.prototype.send = function (this: RTCDataChannel, frame: unknown) {
    const bytes = frame as Uint8Array<ArrayBuffer> // simple-peer sends nothing else
    sendAsItIs.call(this, change(bytes, this))
  }
}

const SIZES = [0, 1, 65_519, 65_520, 300_000, 3_000_000]

test('messages of all sizes go both ways at once (T1 T2)', async () => {
  const both = await pair()
  const sides = [0, 1] as const
  await Promise.all(
    sides.flatMap((from) => SIZES.map((bytes, name) => transfer(both, from, name, made(bytes)))),
  )
  for (const to of sides) for (const [name, bytes] of SIZES.entries()) expectWhole(both, to, name, bytes)
  const total = SIZES.reduce((sum, bytes) => sum + bytes, 0)
  for (const group of both.groups) expect(group.traffic).toEqual({ sent: total, received: total })
})

test.each([0, 1] as const)(
  'a message goes on over a new channel when member %i’s breaks off (T5)',
  async (who) => {
    const both = await pair()
    const bytes = 12_000_000
    let cuts = 0
    const source = made(bytes, (end) => {
      if (cuts < 2 && end > (cuts + 1) * 4_000_000) {
        cuts += 1
        both.groups[who].cut(1 - who)
      }
    })
    await transfer(both, 0, 7, source)
    expectWhole(both, 1, 7, bytes)
    expect(cuts).toBe(2)
    expect(both.groups.map(({ whole }) => whole)).toEqual([true, true])
  },
)

test('damaged frames are sent again, and what is no frame ends the channel, not the message (T4 T5 T6)', async () => {
  let frames = 0
  let channels = new Set<RTCDataChannel>()
  tamper((frame, channel) => {
    channels.add(channel)
    if (frame[0] !== 2) return frame
    frames += 1
    if (frames === 60) return Uint8Array.of(9, 9, 9, 9, 9)
    if (frames % 9 === 0) {
      const at = 1 + ((frames * 7_919) % (frame.length - 1))
      const damaged = frame.slice()
      damaged[at] = (damaged[at] ?? 0) ^ 0x10
      return damaged
    }
    return frame
  })
  const both = await pair()
  channels = new Set()
  await Promise.all([transfer(both, 0, 1, made(8_000_000)), transfer(both, 1, 2, made(2_000_000))])
  expectWhole(both, 1, 1, 8_000_000)
  expectWhole(both, 0, 2, 2_000_000)
  expect(frames).toBeGreaterThan(10_000_000 / FRAME_BYTES)
  expect(channels.size).toBe(4) // two ends of two channels
})

test(`a message of ${MEGABYTES} MB passes with flat memory (T3)`, async () => {
  let buffered = 0
  tamper((frame, channel) => {
    buffered = Math.max(buffered, channel.bufferedAmount)
    return frame
  })
  const both = await pair()
  const bytes = MEGABYTES * 1_000_000
  /** Bytes of the message that are anywhere: read, and not taken yet. */
  let ahead = 0
  const heap = () => (performance as { memory?: { usedJSHeapSize: number } }).memory?.usedJSHeapSize ?? 0 // Chromium's
  const before = heap()
  let most = before
  const source = made(bytes, (end) => {
    ahead = Math.max(ahead, end - (both.got[1].get(1)?.taken ?? 0))
    most = Math.max(most, heap())
  })
  const began = performance.now()
  await transfer(both, 0, 1, source)
  const seconds = (performance.now() - began) / 1_000
  expectWhole(both, 1, 1, bytes)
  expect(ahead).toBeLessThan(5_000_000)
  expect(buffered).toBeLessThan(1_000_000)
  expect(most - before).toBeLessThan(200_000_000) // what is not collected yet, buffers too
  const figures = { MBps: MEGABYTES / seconds, seconds, ahead, buffered, heapGrew: most - before }
  console.info(`${MEGABYTES} MB over one channel: ${JSON.stringify(figures)}`)
})
