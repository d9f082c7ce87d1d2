/** What tabs do in an exchange, over links in memory; the coordinator is the test. Rules of coordinator/mesh/RULES.md. */
import { describe, expect, test } from 'vitest'
import { CODECS } from '../../shared/codec/codec.ts'
import { isSlice, meanSlice, slicesOf } from '../../shared/mesh/slices.ts'
import type { ExchangeMessage, PeerHeader } from '../../shared/protocol/mesh.ts'
import type { Receipt } from '../../shared/protocol/run.ts'
import { sha256 } from '../storage/sha256.ts'
import { TabExchange } from './exchange.ts'
import { type FakeMember, fakeGroup } from './fakes.ts'
import { sourceOf } from './link.ts'

const PARAMETERS = 5 * 4_096 + 100
const CODEC = 'int8'
const ID = 'an-exchange'

type Uploaded = { slice: number; kind: string; attempt: number; bytes: Uint8Array }

class Tab {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly exchange: TabExchange
  readonly held: (readonly number[])[] = []
  readonly uploaded: Uploaded[] = []
  readonly quits: string[] = []
  fails = false
  /** Uploads wait for it. */
  line: Promise<void> | null = null
  commitments = { sha256: '', slices: [] as string[] }

  constructor(readonly member: FakeMember) {
    const { index } = member.message
    const values = Float32Array.from({ length: PARAMETERS }, (_, i) => Math.sin(i * (index + 1)))
    this.bytes = CODECS[CODEC].encode(values)
    const offered = {
      lease: `lease ${index}`,
      bytes: this.bytes,
      parameters: PARAMETERS,
      codec: CODEC,
    } as const
    this.exchange = new TabExchange(member, offered, {
      held: (from) => this.held.push(from),
      quit: (why) => this.quits.push(why),
      mean: async (codec, count, members) => meanSlice(codec, count, members),
      isSlice: async (codec, count, bytes) => isSlice(codec, count, bytes),
      upload: async ({ slice, kind, attempt }, bytes) => {
        await this.line
        if (this.fails) throw new Error('refused')
        this.uploaded.push({ slice, kind, attempt, bytes: bytes.slice() })
      },
    })
    member.accept = (from, header: Extract<PeerHeader, { kind: 'slice' }>) =>
      this.exchange.accept(from, header)
  }

  slice(slice: number): Uint8Array<ArrayBuffer> {
    const { offset = 0, bytes = 0 } = slicesOf(PARAMETERS, this.member.message.size, CODEC)[slice] ?? {}
    return this.bytes.slice(offset, offset + bytes)
  }

  /** To another member, as its own slice. */
  send(to: number, slice: number, bytes: Uint8Array, exchange = ID): Promise<void> {
    const header: PeerHeader = { kind: 'slice', exchange, slice, bytes: bytes.length }
    return this.member.link(to)?.send(header, sourceOf(bytes)) ?? Promise.reject(new Error('no link'))
  }
}

async function tabs(size: number): Promise<Tab[]> {
  const all = fakeGroup(size).map((member) => new Tab(member))
  for (const tab of all) tab.commitments = await tab.exchange.commitments()
  return all
}

const messageFor = (all: readonly Tab[], more: Partial<ExchangeMessage> = {}): ExchangeMessage => ({
  ...{ exchange: ID, group: 'a-group', codec: CODEC, parameters: PARAMETERS },
  members: all.map(({ commitments }, index) => ({ index, slices: commitments.slices })),
  reducers: all.map((_, index) => index),
  ...more,
})

async function until(test: () => boolean): Promise<void> {
  for (let i = 0; !test(); i++) {
    if (i > 2_000) throw new Error('Waited in vain.')
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

const holdsAll = (tab: Tab, size: number) => until(() => tab.held.at(-1)?.length === size)
/** Time for what should not happen. */
const pause = () => new Promise((resolve) => setTimeout(resolve, 20))

const setOf = (all: readonly Tab[], attempt = 1) => ({
  exchange: ID,
  attempt,
  set: all.map((_, index) => ({ index, weight: 100 + index })),
})
const meanOf = (all: readonly Tab[], slice: number) =>
  meanSlice(
    CODEC,
    slicesOf(PARAMETERS, all.length, CODEC)[slice]?.count ?? 0,
    all.map((tab, index) => ({ bytes: tab.slice(slice), weight: 100 + index })),
  )

describe('a tab', () => {
  test('commits to its whole and to each slice (X1)', async () => {
    const [tab] = await tabs(3)
    expect(tab?.commitments.sha256).toBe(await sha256(tab?.bytes ?? new Uint8Array()))
    expect(tab?.commitments.slices).toHaveLength(3)
    expect(tab?.commitments.slices[2]).toBe(await sha256(tab?.slice(2) ?? new Uint8Array()))
  })

  test('sends its slices, tells what it holds, and brings the mean of its slice (X2 X3)', async () => {
    const all = await tabs(4)
    for (const tab of all) tab.exchange.begin(messageFor(all))
    for (const tab of all) await holdsAll(tab, 4)
    for (const tab of all) tab.exchange.reduce(setOf(all))
    await until(() => all.every(({ uploaded }) => uploaded.length > 0))
    for (const [index, { uploaded, quits }] of all.entries()) {
      expect(uploaded).toEqual([{ slice: index, kind: 'mean', attempt: 1, bytes: meanOf(all, index) }])
      expect(quits).toEqual([])
    }
  })

  test('takes slices that come before the coordinator’s word (X2)', async () => {
    const all = await tabs(3)
    const [first, ...others] = all as [Tab, Tab, Tab]
    for (const tab of others) tab.exchange.begin(messageFor(all))
    await until(() => others.every(({ member }) => (member.link(0)?.sent ?? 0) > 0))
    await pause()
    expect(first.held).toEqual([])
    first.exchange.begin(messageFor(all))
    await holdsAll(first, 3)
  })

  test('reduces several slices where others have nothing to offer (X2)', async () => {
    const all = await tabs(3)
    const present = [all[0], all[2]] as [Tab, Tab]
    const members = [0, 2].map((index) => ({ index, slices: all[index]?.commitments.slices ?? [] }))
    for (const tab of present) tab.exchange.begin(messageFor(all, { members, reducers: [0, 2, 2] }))
    for (const tab of present) await holdsAll(tab, 2)
    const set = [0, 2].map((index) => ({ index, weight: 1 }))
    for (const tab of present) tab.exchange.reduce({ exchange: ID, attempt: 1, set })
    await until(() => present[1].uploaded.length === 2)
    expect(present[1].uploaded.map(({ slice }) => slice)).toEqual([1, 2])
  })

  test('does not hold a slice that is another than its owner committed to (X2)', async () => {
    const all = await tabs(3)
    const [first, second, third] = all as [Tab, Tab, Tab]
    const lie = third.slice(0)
    lie[5] = (lie[5] ?? 0) ^ 1
    await third.send(0, 0, lie)
    first.exchange.begin(messageFor(all))
    second.exchange.begin(messageFor(all))
    await until(() => first.held.at(-1)?.length === 2)
    await pause()
    expect(first.held.at(-1)).toEqual([0, 1])
    await third.send(0, 0, third.slice(0)) // the right one after all
    await holdsAll(first, 3)
  })

  test('does not hold a slice of no numbers, though its owner committed to it (X2)', async () => {
    const all = await tabs(3)
    const [first, , third] = all as [Tab, Tab, Tab]
    const { offset = 0 } = slicesOf(PARAMETERS, 3, CODEC)[0] ?? {}
    third.bytes.set([0xff, 0xff], offset) // the scale of a block
    third.commitments = await third.exchange.commitments()
    for (const tab of all) tab.exchange.begin(messageFor(all))
    await until(() => first.held.at(-1)?.length === 2)
    await pause()
    expect(first.held.at(-1)).toEqual([0, 1])
    expect(all.map(({ held }) => held.at(-1)?.length)).toEqual([2, 3, 3])
  })

  test('keeps the slice that it told of, whatever comes afterwards or beside it (X2)', async () => {
    const all = await tabs(2)
    const [first, second] = all as [Tab, Tab]
    const lie = second.slice(0).fill(1)
    const right = second.send(0, 0, second.slice(0))
    const beside = second.send(0, 0, lie)
    await expect(beside).rejects.toThrow('does not want it')
    await right
    first.exchange.begin(messageFor(all))
    await holdsAll(first, 2)
    await expect(second.send(0, 0, lie)).rejects.toThrow('does not want it')
    first.exchange.reduce(setOf(all))
    await until(() => first.uploaded.length > 0)
    expect(first.uploaded[0]?.bytes).toEqual(meanOf(all, 0))
  })

  test('takes nothing of another exchange for this one’s (X2)', async () => {
    const all = await tabs(2)
    const [first, second] = all as [Tab, Tab]
    await second.send(0, 0, second.slice(0).fill(1), 'an-earlier-one')
    await second.send(0, 0, second.slice(0))
    first.exchange.begin(messageFor(all))
    await holdsAll(first, 2)
    await expect(second.send(0, 0, second.slice(0), 'a-later-one')).rejects.toThrow('does not want it')
  })

  test('takes no slice of another size, of somebody else’s, or a flood of them (X2)', async () => {
    const all = await tabs(3)
    const [first, second] = all as [Tab, Tab, Tab]
    const refused = async (sent: Promise<void>) => expect(sent).rejects.toThrow('does not want it')
    await refused(second.send(0, 0, new Uint8Array(10)))
    await refused(second.send(0, 7, second.slice(0)))
    await Promise.all(
      Array.from({ length: 9 }, (_, i) => second.send(0, i % 3, second.slice(i % 3), `number-${i}`)),
    )
    await refused(second.send(0, 0, second.slice(0), 'number-10'))
    first.exchange.begin(messageFor(all))
    await refused(second.send(0, 1, second.slice(1)))
  })

  test('takes the mean again over a smaller set, and gives the first one up (X3)', async () => {
    const all = await tabs(3)
    const [first] = all as [Tab, Tab, Tab]
    for (const tab of all) tab.exchange.begin(messageFor(all))
    await holdsAll(first, 3)
    let refuse: () => void = () => undefined
    first.line = new Promise((_, reject) => {
      refuse = () => reject(new Error('Nobody waits for this slice.'))
    })
    first.exchange.reduce(setOf(all))
    await pause()
    first.exchange.reduce({ ...setOf(all, 2), set: setOf(all).set.slice(0, 2) })
    refuse()
    first.line = null
    await until(() => first.uploaded.length > 0)
    first.exchange.reduce(setOf(all)) // comes again, too late
    await pause()
    const { count = 0 } = slicesOf(PARAMETERS, 3, CODEC)[0] ?? {}
    const members = all.slice(0, 2).map((tab, index) => ({ bytes: tab.slice(0), weight: 100 + index }))
    const bytes = meanSlice(CODEC, count, members)
    expect(first.uploaded).toEqual([{ slice: 0, kind: 'mean', attempt: 2, bytes }])
    expect(first.quits).toEqual([])
  })

  test('leaves a mean to the others when it lacks a slice of the set (X3)', async () => {
    const all = await tabs(3)
    const [first, second] = all as [Tab, Tab, Tab]
    for (const tab of [first, second]) tab.exchange.begin(messageFor(all))
    await until(() => first.held.at(-1)?.length === 2)
    first.exchange.reduce(setOf(all))
    await pause()
    expect([first.uploaded, first.quits]).toEqual([[], []])
  })

  test('brings its own slice or everything when it is asked (X3 X6)', async () => {
    const [tab] = (await tabs(3)) as [Tab, Tab, Tab]
    tab.exchange.own(2)
    tab.exchange.own(null)
    await until(() => tab.uploaded.length === 2)
    expect(tab.uploaded).toEqual([
      { slice: 2, kind: 'own', attempt: 0, bytes: tab.slice(2) },
      { slice: 0, kind: 'whole', attempt: 0, bytes: tab.bytes },
    ])
  })

  test('goes on though another is gone, and gives up when it fails itself (X5)', async () => {
    const all = await tabs(3)
    const [first, second, third] = all as [Tab, Tab, Tab]
    third.member.link(0)?.close('gone')
    first.member.link(2)?.close('gone')
    for (const tab of [first, second]) tab.exchange.begin(messageFor(all))
    await until(() => first.held.at(-1)?.length === 2)
    expect(first.quits).toEqual([])
    first.fails = true
    first.exchange.own(0)
    expect(await first.exchange.settled).toBeNull()
    expect(first.quits).toEqual(['Error: refused'])
  })

  test.each([{ codec: 'f16' as const }, { parameters: PARAMETERS + 1 }, { reducers: [0, 1] }])(
    'gives up an exchange of something else: %o (X5)',
    async (other) => {
      const all = await tabs(3)
      all[0]?.exchange.begin(messageFor(all, other))
      expect(await all[0]?.exchange.settled).toBeNull()
      expect(all[0]?.quits).toHaveLength(1)
    },
  )

  test('hears how it ended, once (X5)', async () => {
    const [tab] = (await tabs(2)) as [Tab, Tab]
    const receipt: Receipt = {
      lease: 'lease 0',
      round: 1,
      result: 'accepted',
      tokens: 5,
      message: '',
      repeated: false,
    }
    tab.exchange.end(receipt)
    tab.exchange.end(null)
    expect(await tab.exchange.settled).toBe(receipt)
  })
})
