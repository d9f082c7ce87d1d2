/** One exchange with a clock, sockets and a disk of the test's own: rules X1 to X6. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CODECS } from '../../shared/codec/codec.ts'
import { slicesOf } from '../../shared/mesh/slices.ts'
import { MESH_LIMITS, type PieceKind } from '../../shared/protocol/mesh.ts'
import { Exchange } from './exchange.ts'
import type { Offer, Result } from './exchangeParts.ts'
import { HandClock, settled } from './testing.ts'

/** Values of a slice; see GRAIN of slices.ts. */
const GRAIN = 4_096
/** To the round's share of its deadline. */
const UNTIL_MS = 200_000

const name = (index: number) => `v${index}`
const sliceHash = (index: number, slice: number) => `${name(index)}/${slice}`
const meanHash = (slice: number, set: readonly number[]) =>
  `mean of ${set.map((index) => sliceHash(index, slice)).join('+')}`

interface Told {
  readonly to: number
  readonly event: 'exchange' | 'reduce' | 'own' | 'settled'
  readonly message: Record<string, unknown>
}

interface TableParts {
  size?: number
  parameters?: number
  auditRate?: number
  expected?: readonly number[]
  chance?: () => number
  sliceHashes?: (hash: string) => string[]
  fits?: (offer: Offer) => boolean | Promise<boolean>
  sliceMean?: (hashes: readonly string[]) => Promise<string | null>
  settle?: (result: Result) => Promise<ReadonlyMap<string, object>>
}

/** A group around one exchange. What members do by themselves is what honest tabs do. */
class Table {
  readonly expected: Set<number>
  readonly clock = new HandClock()
  readonly until = this.clock.now() + UNTIL_MS
  readonly told: Told[] = []
  readonly results: Result[] = []
  readonly caught: { index: number; what: string }[] = []
  readonly size: number
  readonly exchange: Exchange
  readonly slices
  over = 0

  constructor(parts: TableParts = {}) {
    const { size = 3, auditRate = 0 } = parts
    const { parameters = size * GRAIN } = parts
    this.size = size
    this.slices = slicesOf(parameters, size, 'f32')
    const members = Array.from({ length: size }, (_, index) => name(index))
    this.expected = new Set(parts.expected ?? members.keys())
    const indexOf = (volunteer: string) => members.indexOf(volunteer)
    this.exchange = new Exchange(
      {
        ...{ id: 'x', group: 'g', members, codec: 'f32', parameters, auditRate },
        until: this.until,
      },
      {
        clock: this.clock,
        random: parts.chance ?? (() => 0),
        coming: (volunteer) => this.expected.has(indexOf(volunteer)),
        tell: (volunteer, event, message) =>
          this.told.push({ to: indexOf(volunteer), event, message: { ...message } }),
        async sliceMean(_, weighed) {
          const hashes = weighed.map(({ hash }) => hash)
          return parts.sliceMean ? parts.sliceMean(hashes) : `mean of ${hashes.join('+')}`
        },
        sliceHashes: async (hash) =>
          parts.sliceHashes?.(hash) ?? this.slices.map((_, slice) => `${hash}/${slice}`),
        fits: async (offer) => parts.fits?.(offer) ?? true,
        settle: async (result) => {
          this.results.push(result)
          const receipts = new Map(result.members.map(({ lease }) => [lease, { lease }]))
          return parts.settle ? parts.settle(result) : receipts
        },
        caught: (volunteer, what) => this.caught.push({ index: indexOf(volunteer), what }),
        over: () => {
          this.over += 1
        },
      },
    )
  }

  offer(...indices: number[]): boolean[] {
    return indices.map((index) => this.exchange.offer(index, offerOf(index, this.size)))
  }

  held(index: number, from: readonly number[]): void {
    this.exchange.held(name(index), from)
  }

  lost(index: number, withdraws = false): void {
    this.exchange.lost(name(index), withdraws)
  }

  expects(volunteer: string, kind: PieceKind, slice: number) {
    return this.exchange.expects(volunteer, { kind, slice, attempt: this.attempt })
  }

  /** As mesh.ts does when the bytes have come; false when nobody waits for them. */
  bring(index: number, kind: PieceKind, slice: number, hash: string): boolean {
    const piece = { kind, slice, attempt: this.attempt }
    const expected = this.exchange.expects(name(index), piece)
    if (expected === null || (expected.hash !== null && expected.hash !== hash)) return false
    this.exchange.arrived(name(index), piece, hash, expected.bytes)
    return true
  }

  own(index: number, slice: number): boolean {
    return this.bring(index, 'own', slice, sliceHash(index, slice))
  }

  mean(slice: number, set: readonly number[], by = slice): boolean {
    return this.bring(by, 'mean', slice, meanHash(slice, set))
  }

  /** What one was told, in order. */
  heard(index: number): Told['event'][] {
    return this.told.filter(({ to }) => to === index).map(({ event }) => event)
  }

  asked(): { index: number; slice: unknown }[] {
    return this.told.flatMap(({ to, event, message }) =>
      event === 'own' ? [{ index: to, slice: message.slice }] : [],
    )
  }

  /** By member, how often it was told of an end with a receipt, and without one. */
  ends(): Record<number, string> {
    const ends: Record<number, string> = {}
    for (const { to, event, message } of this.told) {
      if (event === 'settled')
        ends[to] = (ends[to] ?? '') + (message.receipt === null ? 'direct' : 'accepted')
    }
    return ends
  }

  /** Of the last set that was told. */
  get attempt(): number {
    return Number(this.#lastReduce()?.message.attempt ?? 0)
  }

  #lastReduce(): Told | undefined {
    return this.told.findLast(({ event }) => event === 'reduce')
  }

  /** The last. */
  set(): unknown {
    const reduce = this.#lastReduce()
    return (reduce?.message.set as { index: number }[] | undefined)?.map(({ index }) => index)
  }
}

const offerOf = (index: number, slices: number): Offer => ({
  ...{ volunteer: name(index), lease: `lease ${index}`, steps: 2, loss: 5, sha256: name(index) },
  slices: Array.from({ length: slices }, (_, slice) => sliceHash(index, slice)),
  weight: 100 + index,
})

const all = (size: number) => Array.from({ length: size }, (_, index) => index)
const everybody = (size: number, end: string) => Object.fromEntries(all(size).map((index) => [index, end]))

/** As far as the set that is reduced. */
function reducing(parts: TableParts = {}): Table {
  const table = new Table(parts)
  const members = all(table.size)
  table.offer(...members)
  for (const index of members) table.held(index, members)
  expect(table.exchange.phase).toBe('reducing')
  return table
}

/** X5: the longest that a phase of these slices may take, with room for rounding. */
const phaseMs = (bytes: number) =>
  1_000 * (MESH_LIMITS.phaseSeconds + bytes / MESH_LIMITS.slowestBytesPerSecond) + 1

describe('an exchange that goes well', () => {
  test.each([2, 3, 4, 8])('ends in one mean of %i members (X1 X2 X3 X4)', async (size) => {
    const table = new Table({ size })
    const members = all(size)
    for (const index of members) {
      expect(table.exchange.phase).toBe('gathering')
      expect(table.offer(index)).toEqual([true])
    }
    expect(table.told[0]?.message).toEqual({
      ...{ exchange: 'x', group: 'g', codec: 'f32', parameters: size * GRAIN, reducers: members },
      members: members.map((index) => ({ index, slices: members.map((slice) => sliceHash(index, slice)) })),
    })
    for (const index of members) table.held(index, members)
    expect(table.set()).toEqual(members)
    for (const slice of members) expect(table.mean(slice, members)).toBe(true)
    await settled()
    expect(table.results).toEqual([
      {
        slices: members.map((slice) => meanHash(slice, members)),
        members: members.map((index) => offerOf(index, size)),
        bytes: size * 4 * GRAIN,
      },
    ])
    expect(table.ends()).toEqual(everybody(size, 'accepted'))
    expect(table.exchange.succeeded).toBe(true)
    expect([table.over, table.clock.waiting, table.asked()]).toEqual([1, 0, []])
  })

  test('waits for nobody who has nothing to reduce (X2)', async () => {
    const table = new Table({ size: 4, parameters: 2 * GRAIN }) // slices 0 and 2 are empty
    table.offer(0, 1, 2, 3)
    for (const index of [1, 3]) table.held(index, all(4))
    expect(table.exchange.phase).toBe('reducing')
    for (const index of [1, 3]) table.mean(index, all(4))
    await settled()
    expect(table.results[0]?.slices).toHaveLength(2)
    expect(table.ends()).toEqual(everybody(4, 'accepted'))
  })

  test('gives slices of who has no lease this round to the others (X1 X2)', () => {
    const table = new Table({ size: 4, expected: [0, 2, 3] })
    table.offer(0, 2, 3)
    expect(table.told[0]?.message.reducers).toEqual([0, 2, 2, 3])
  })
})

describe('gathering', () => {
  test('waits no more for who sends directly (X1)', async () => {
    const table = new Table()
    table.offer(0, 1)
    expect(table.told).toEqual([])
    table.expected.delete(2)
    table.exchange.look()
    expect(table.told[0]?.event).toBe('exchange')
  })

  test('ends when its time is over, with those who have offered (X1)', async () => {
    const table = new Table()
    table.offer(0, 2)
    await table.clock.pass(UNTIL_MS / 2 - 1)
    expect(table.exchange.phase).toBe('gathering')
    await table.clock.pass(1)
    expect(table.exchange.phase).toBe('scattering')
    expect(table.heard(1)).toEqual([])
    expect(table.offer(1)).toEqual([false]) // too late
  })

  test('of one alone comes to nothing (X1 X5)', async () => {
    const table = new Table()
    table.offer(0)
    await table.clock.pass(UNTIL_MS / 2)
    expect(table.ends()).toEqual({ 0: 'direct' })
    expect([table.over, table.clock.waiting]).toEqual([1, 0])
  })

  test('goes on without who has gone, and without its offer (X1)', () => {
    const table = new Table()
    table.offer(0, 1)
    table.lost(1)
    expect(table.exchange.phase).toBe('gathering')
    table.offer(2)
    expect(table.exchange.phase).toBe('scattering')
    expect(table.heard(1)).toEqual([])
    expect(table.told[0]?.message.members).toHaveLength(2)
  })

  test('takes an offer again from who came back (X1)', () => {
    const table = new Table()
    table.offer(0, 1)
    table.lost(1)
    table.offer(1, 2)
    expect(table.told[0]?.message.members).toHaveLength(3)
  })

  test('refuses an offer of another number of slices (X1)', () => {
    const table = new Table()
    expect(table.exchange.offer(0, offerOf(0, 2))).toBe(false)
    expect(table.exchange.offer(0, offerOf(0, 4))).toBe(false)
  })
})

describe('scattering', () => {
  test('leaves out who sent nothing, and tells it at once (X2 X5)', async () => {
    const table = new Table()
    table.offer(0, 1, 2)
    for (const index of [0, 1]) table.held(index, [0, 1])
    expect(table.exchange.phase).toBe('scattering')
    await table.clock.pass(phaseMs(2 * 4 * GRAIN * 3))
    expect(table.set()).toEqual([0, 1])
    expect(table.ends()).toEqual({ 2: 'direct' })
    expect(table.asked()).toEqual([
      { index: 0, slice: 2 },
      { index: 1, slice: 2 },
    ])
    for (const index of [0, 1]) table.own(index, 2)
    for (const slice of [0, 1]) table.mean(slice, [0, 1])
    await settled()
    expect(table.results[0]?.slices).toEqual([0, 1, 2].map((slice) => meanHash(slice, [0, 1])))
    expect(table.ends()).toEqual({ 0: 'accepted', 1: 'accepted', 2: 'direct' })
  })

  test('without a member who goes, goes on with the others, who bring its slice (X2 X3)', async () => {
    const table = new Table()
    table.offer(0, 1, 2)
    for (const index of [0, 1]) table.held(index, [0, 1])
    table.lost(2)
    expect(table.set()).toEqual([0, 1])
    for (const index of [0, 1]) table.own(index, 2)
    for (const slice of [0, 1]) table.mean(slice, [0, 1])
    await settled()
    expect(table.results[0]?.members.map(({ lease }) => lease)).toEqual(['lease 0', 'lease 1'])
  })

  test('counts as gone only who had offered (X2)', () => {
    const table = new Table({ size: 4 })
    table.offer(0, 1, 2)
    table.lost(3) // never offered
    expect(table.exchange.phase).toBe('scattering')
    table.lost(2)
    expect(table.exchange.phase).toBe('scattering')
    for (const index of [0, 1]) table.held(index, [0, 1])
    expect(table.set()).toEqual([0, 1])
  })

  test('with one left comes to nothing, and everybody hears of it (X5)', () => {
    const table = new Table()
    table.offer(0, 1, 2)
    table.lost(0)
    table.lost(1, true)
    expect(table.ends()).toEqual(everybody(3, 'direct'))
    expect([table.over, table.clock.waiting]).toEqual([1, 0])
  })

  test('in which nothing comes through ends in its time (X5)', async () => {
    const table = new Table()
    table.offer(0, 1, 2)
    await table.clock.pass(phaseMs(2 * 4 * GRAIN * 3))
    expect(table.ends()).toEqual(everybody(3, 'direct'))
    expect(table.results).toEqual([])
  })

  test('believes what a reducer holds of members only, and nobody else’s word (X2)', () => {
    const table = new Table({ size: 4, expected: [0, 1, 2] })
    table.offer(0, 1, 2)
    table.exchange.held('a stranger', [0, 1, 2])
    table.held(3, [0, 1, 2]) // in the group, not in the exchange
    for (const index of [0, 1, 2]) table.held(index, [0, 1, 2, 3, 7])
    expect(table.set()).toEqual([0, 1, 2])
  })

  test('a reducer who is not in the mean owes nothing: the others bring its slice (X2 X3)', async () => {
    const table = new Table()
    table.offer(0, 1, 2)
    table.held(0, [0, 1]) // nothing of 2 came
    table.held(1, [0, 1])
    table.held(2, [0, 1, 2])
    await table.clock.pass(phaseMs(2 * 4 * GRAIN * 3))
    expect(table.set()).toEqual([0, 1])
    expect(table.heard(2)).toEqual(['exchange', 'settled'])
    for (const index of [0, 1]) expect(table.own(index, 2)).toBe(true)
    for (const slice of [0, 1]) table.mean(slice, [0, 1])
    await settled()
    expect(table.ends()).toEqual({ 0: 'accepted', 1: 'accepted', 2: 'direct' })
  })

  test('a reducer who holds too little does not count (X2 X3)', async () => {
    const table = new Table()
    table.offer(0, 1, 2)
    table.held(0, [0, 1, 2])
    table.held(1, [0, 1, 2])
    table.held(2, [2])
    await table.clock.pass(phaseMs(2 * 4 * GRAIN * 3))
    expect(table.set()).toEqual([0, 1, 2])
    expect(table.asked().map(({ slice }) => slice)).toEqual([2, 2, 2])
  })
})

describe('reducing', () => {
  test('a reducer who brings no mean in time: the members bring their own (X3)', async () => {
    const table = reducing()
    for (const slice of [0, 1]) table.mean(slice, all(3))
    expect(table.own(0, 2)).toBe(false) // nobody asked
    await table.clock.pass(phaseMs(2 * 4 * GRAIN))
    expect(table.asked()).toEqual([0, 1, 2].map((index) => ({ index, slice: 2 })))
    for (const index of [0, 1, 2]) expect(table.own(index, 2)).toBe(true)
    await settled()
    expect(table.results[0]?.slices[2]).toBe(meanHash(2, all(3)))
    expect(table.results[0]?.bytes).toBe(5 * 4 * GRAIN)
    expect(table.ends()).toEqual(everybody(3, 'accepted'))
  })

  test('a mean that comes late is as good (X3)', async () => {
    const table = reducing()
    for (const slice of [0, 1]) table.mean(slice, all(3))
    await table.clock.pass(phaseMs(2 * 4 * GRAIN))
    expect(table.mean(2, all(3))).toBe(true)
    await settled()
    expect(table.ends()).toEqual(everybody(3, 'accepted'))
  })

  test('a slice that nobody brings ends it in its time (X5)', async () => {
    const table = reducing()
    for (const slice of [0, 1]) table.mean(slice, all(3))
    await table.clock.pass(phaseMs(2 * 4 * GRAIN))
    table.own(0, 2)
    await table.clock.pass(phaseMs(2 * 4 * GRAIN))
    expect(table.ends()).toEqual(everybody(3, 'direct'))
    expect([table.over, table.clock.waiting, table.results.length]).toEqual([1, 0, 0])
  })

  test('who has brought all that it owes may go (X3)', async () => {
    const table = reducing()
    table.mean(2, all(3))
    table.lost(2)
    for (const slice of [0, 1]) table.mean(slice, all(3))
    await settled()
    expect(table.ends()).toEqual(everybody(3, 'accepted'))
  })

  test('who goes and owes a slice costs the others no more than that slice (X3)', async () => {
    const table = reducing()
    table.mean(0, all(3))
    expect(table.attempt).toBe(1)
    table.lost(2)
    expect([table.attempt, table.set(), table.ends()]).toEqual([2, [0, 1], { 2: 'direct' }])
    expect(table.asked()).toEqual([0, 1].map((index) => ({ index, slice: 2 })))
    for (const index of [0, 1]) table.own(index, 2)
    for (const slice of [0, 1]) table.mean(slice, [0, 1])
    await settled()
    expect(table.results).toEqual([
      {
        slices: [0, 1, 2].map((slice) => meanHash(slice, [0, 1])),
        members: [0, 1].map((index) => offerOf(index, 3)),
        bytes: 5 * 4 * GRAIN, // a mean of the larger set among them
      },
    ])
    expect(table.ends()).toEqual({ 0: 'accepted', 1: 'accepted', 2: 'direct' })
  })

  test('a mean of a larger set is no mean of the smaller one (X3)', async () => {
    const table = reducing({ size: 4 })
    const larger = { kind: 'mean', slice: 0, attempt: 1 } as const
    expect(table.exchange.expects(name(0), larger)).not.toBeNull()
    table.lost(3)
    expect(table.exchange.expects(name(0), larger)).toBeNull()
    table.exchange.arrived(name(0), larger, meanHash(0, all(4)), 4 * GRAIN) // was on its way
    expect(table.mean(0, [0, 1, 2])).toBe(true)
    for (const slice of [1, 2]) table.mean(slice, [0, 1, 2])
    for (const index of [0, 1, 2]) table.own(index, 3)
    await settled()
    expect(table.results[0]?.slices).toEqual(all(4).map((slice) => meanHash(slice, [0, 1, 2])))
  })

  test('a mean that the coordinator takes of a larger set is dropped with it (X3)', async () => {
    const answers: (() => void)[] = []
    const table = reducing({
      size: 4,
      sliceMean: (hashes) =>
        new Promise((resolve) => answers.push(() => resolve(`mean of ${hashes.join('+')}`))),
    })
    for (const slice of [0, 1]) table.mean(slice, all(4))
    await table.clock.pass(phaseMs(2 * 4 * GRAIN))
    for (const index of all(4)) table.own(index, 2)
    for (const index of [0, 1, 2]) table.own(index, 3)
    expect(answers).toHaveLength(1)
    table.lost(3)
    for (const answer of answers.splice(0)) answer()
    await settled()
    for (const slice of [0, 1]) table.mean(slice, [0, 1, 2])
    for (let i = 0; i < 2; i++) {
      for (const answer of answers.splice(0)) answer()
      await settled()
    }
    expect(table.results[0]?.slices).toEqual(all(4).map((slice) => meanHash(slice, [0, 1, 2])))
  })

  test('with one left it is over, once and for all (X5)', async () => {
    const table = reducing()
    table.mean(0, all(3))
    table.lost(0)
    expect(table.exchange.phase).toBe('reducing') // it owes nothing
    await table.clock.pass(phaseMs(2 * 4 * GRAIN)) // 1 and 2 bring nothing; 0 cannot bring its own
    expect(table.ends()).toEqual({ 0: 'direct' })
    table.lost(1)
    expect(table.exchange.phase).toBe('over')
    await table.clock.pass(UNTIL_MS)
    expect(table.ends()).toEqual(everybody(3, 'direct'))
    expect([table.over, table.clock.waiting]).toEqual([1, 0])
  })

  test('who brings neither mean nor its own is left out (X3 X5)', async () => {
    const table = reducing()
    for (const slice of [0, 1]) table.mean(slice, all(3))
    await table.clock.pass(phaseMs(2 * 4 * GRAIN))
    for (const index of [0, 1]) table.own(index, 2)
    await table.clock.pass(phaseMs(2 * 4 * GRAIN))
    expect([table.set(), table.ends()]).toEqual([[0, 1], { 2: 'direct' }])
    for (const slice of [0, 1]) table.mean(slice, [0, 1])
    await settled()
    expect(table.results[0]?.slices).toEqual([0, 1, 2].map((slice) => meanHash(slice, [0, 1])))
  })

  test('who withdraws is left out of the mean, though it has brought everything (X5)', async () => {
    const table = reducing()
    table.mean(2, all(3))
    table.lost(2, true)
    expect(table.ends()).toEqual({ 2: 'direct' })
    for (const slice of [0, 1]) table.mean(slice, [0, 1])
    for (const index of [0, 1]) table.own(index, 2)
    await settled()
    expect(table.results[0]?.members.map(({ lease }) => lease)).toEqual(['lease 0', 'lease 1'])
  })

  test('takes the mean of a slice from its reducer only (X3)', () => {
    const table = reducing()
    expect(table.expects('v1', 'mean', 0)).toBeNull()
    expect(table.expects('a stranger', 'mean', 0)).toBeNull()
    expect(table.expects('v0', 'mean', 9)).toBeNull()
    expect(table.expects('v0', 'own', 0)).toBeNull()
    expect(table.expects('v0', 'whole', 0)).toBeNull()
    expect(table.expects('v0', 'mean', 0)).toEqual({ bytes: 4 * GRAIN, hash: null })
    table.mean(0, all(3))
    expect(table.mean(0, all(3))).toBe(true) // the answer was lost
    expect(table.bring(0, 'mean', 0, 'another')).toBe(false)
  })

  test('takes of the members’ own only what they committed to (X2 X3)', async () => {
    const table = reducing()
    await table.clock.pass(phaseMs(2 * 4 * GRAIN))
    expect(table.expects('v1', 'own', 2)).toEqual({ bytes: 4 * GRAIN, hash: sliceHash(1, 2) })
  })

  test('slices that hold no numbers end it (X5)', async () => {
    const table = reducing({ sliceMean: async () => null })
    await table.clock.pass(phaseMs(2 * 4 * GRAIN))
    for (const slice of all(3)) for (const index of all(3)) table.own(index, slice)
    await settled()
    expect(table.ends()).toEqual(everybody(3, 'direct'))
  })

  test('whose slice holds no numbers is left out (X5)', async () => {
    const table = reducing({
      sliceMean: async (hashes) =>
        hashes.some((hash) => hash.startsWith('v1')) ? null : `mean of ${hashes.join('+')}`,
    })
    for (const slice of [0, 1]) table.mean(slice, all(3))
    await table.clock.pass(phaseMs(2 * 4 * GRAIN))
    for (const index of all(3)) table.own(index, 2)
    await settled()
    expect([table.set(), table.ends()]).toEqual([[0, 2], { 1: 'direct' }])
  })

  test('a coordinator that fails is nobody’s loss (X5)', async () => {
    const broken = reducing({ sliceMean: () => Promise.reject(new Error('disk')) })
    await broken.clock.pass(phaseMs(2 * 4 * GRAIN))
    for (const slice of all(3)) for (const index of all(3)) broken.own(index, slice)
    await settled()
    expect(broken.ends()).toEqual(everybody(3, 'direct'))
    const full = reducing({ settle: () => Promise.reject(new Error('disk')) })
    for (const slice of all(3)) full.mean(slice, all(3))
    await settled()
    expect([full.ends(), full.over]).toEqual([everybody(3, 'direct'), 1])
  })

  test('a mean that is refused leaves everybody the direct way (X4 X5)', async () => {
    const table = reducing({ settle: async () => new Map() })
    for (const slice of all(3)) table.mean(slice, all(3))
    await settled()
    expect(table.ends()).toEqual(everybody(3, 'direct'))
    expect(table.exchange.succeeded).toBe(false)
  })
})

describe('looking by chance', () => {
  /** Looks at slice 0 of all, and at member 0's whole contribution. */
  const audited = (parts: TableParts = {}) => {
    const table = reducing({ auditRate: 1, ...parts })
    return table
  }

  test('asks all members of the mean for a slice, and one for everything (X6)', async () => {
    const table = audited()
    for (const slice of all(3)) table.mean(slice, all(3))
    expect(table.exchange.phase).toBe('auditing')
    expect(table.asked()).toEqual([
      ...all(3).map((index) => ({ index, slice: 0 })),
      { index: 0, slice: null },
    ])
    expect(table.expects('v0', 'whole', 0)).toEqual({ bytes: 3 * 4 * GRAIN, hash: 'v0' })
    expect(table.expects('v1', 'whole', 0)).toBeNull()
    for (const index of all(3)) table.own(index, 0)
    table.bring(0, 'whole', 0, 'v0')
    await settled()
    expect([table.caught, table.ends()]).toEqual([[], everybody(3, 'accepted')])
    expect(table.results[0]?.bytes).toBe(3 * 4 * GRAIN) // what is looked at is no contribution
  })

  test('as often as the operator says (X6)', async () => {
    for (const [chance, phase] of [
      [0.29, 'auditing'],
      [0.3, 'over'],
    ] as const) {
      const table = reducing({ auditRate: 0.3, chance: () => chance })
      for (const slice of all(3)) table.mean(slice, all(3))
      await settled()
      expect(table.exchange.phase).toBe(phase)
    }
  })

  test('a reducer who lies is caught, and its mean replaced by the right one (X6)', async () => {
    const table = audited()
    table.bring(0, 'mean', 0, 'a lie')
    for (const slice of [1, 2]) table.mean(slice, all(3))
    for (const index of all(3)) table.own(index, 0)
    table.bring(0, 'whole', 0, 'v0')
    await settled()
    expect(table.caught.map(({ index }) => index)).toEqual([0])
    expect(table.results[0]?.slices[0]).toBe(meanHash(0, all(3)))
    expect(table.ends()).toEqual(everybody(3, 'accepted'))
  })

  /** 1 and 2 go on without 0, and are looked at again: slice 0, and member 1's whole. */
  async function withoutZero(table: Table): Promise<void> {
    expect(table.caught.map(({ index }) => index)).toEqual([0])
    expect([table.set(), table.ends()]).toEqual([[1, 2], { 0: 'direct' }])
    for (const slice of [1, 2]) table.mean(slice, [1, 2])
    for (const index of [1, 2]) table.own(index, 0)
    await settled()
    table.bring(1, 'whole', 0, 'v1')
    await settled()
    expect(table.results[0]?.slices).toEqual(all(3).map((slice) => meanHash(slice, [1, 2])))
    expect(table.ends()).toEqual({ 0: 'direct', 1: 'accepted', 2: 'accepted' })
    expect(table.caught).toHaveLength(1)
  }

  test('whose slices are not those of its whole is caught, and left out (X6)', async () => {
    const committed = (hash: string) => all(3).map((slice) => `${hash}/${slice}`)
    const table = audited({
      sliceHashes: (hash) => (hash === 'v0' ? ['others', 'than', 'committed'] : committed(hash)),
    })
    for (const slice of all(3)) table.mean(slice, all(3))
    for (const index of all(3)) table.own(index, 0)
    table.bring(0, 'whole', 0, 'v0')
    await settled()
    await withoutZero(table)
  })

  test('whose whole could not count by itself is caught, and left out (X6)', async () => {
    const table = audited({ fits: ({ volunteer }) => volunteer !== 'v0' })
    for (const slice of all(3)) table.mean(slice, all(3))
    for (const index of all(3)) table.own(index, 0)
    table.bring(0, 'whole', 0, 'v0')
    await settled()
    await withoutZero(table)
  })

  test('a liar who withdraws while its whole is compared costs the others nothing more (X5 X6)', async () => {
    let answer: (fits: boolean) => void = () => undefined
    const table = audited({
      fits: ({ volunteer }) =>
        volunteer !== 'v0' ||
        new Promise((resolve) => {
          answer = resolve
        }),
    })
    for (const slice of all(3)) table.mean(slice, all(3))
    for (const index of all(3)) table.own(index, 0)
    table.bring(0, 'whole', 0, 'v0')
    await settled()
    table.lost(0, true)
    answer(false)
    await settled()
    await withoutZero(table)
  })

  test('who does not bring what is looked at is caught, nobody else, and left out (X6)', async () => {
    const table = audited()
    for (const slice of all(3)) table.mean(slice, all(3))
    for (const index of [1, 2]) table.own(index, 0)
    await table.clock.pass(phaseMs(2 * 3 * 4 * GRAIN))
    await withoutZero(table)
  })

  test('nobody is caught because the coordinator is slow to compare (X6)', async () => {
    let answer: (mean: string) => void = () => undefined
    const table = audited({
      chance: () => 0.5, // slice 1
      sliceMean: () =>
        new Promise((resolve) => {
          answer = resolve
        }),
    })
    for (const slice of all(3)) table.mean(slice, all(3))
    for (const index of all(3)) table.own(index, 1)
    table.bring(1, 'whole', 0, 'v1')
    await table.clock.pass(phaseMs(2 * 3 * 4 * GRAIN))
    expect([table.caught, table.exchange.phase]).toEqual([[], 'auditing'])
    answer(meanHash(1, all(3)))
    await settled()
    expect([table.caught, table.ends()]).toEqual([[], everybody(3, 'accepted')])
  })

  test('who goes instead is left out, and the others are looked at all the same (X5 X6)', async () => {
    let looks = 0
    const table = audited({ auditRate: 0.5, chance: () => (looks++ === 0 ? 0 : 0.9) })
    for (const slice of all(3)) table.mean(slice, all(3))
    expect(table.exchange.phase).toBe('auditing')
    table.lost(1)
    expect([table.set(), table.ends()]).toEqual([[0, 2], { 1: 'direct' }])
    for (const slice of [0, 2]) table.mean(slice, [0, 2])
    for (const index of [0, 2]) table.own(index, 1)
    await settled()
    expect([table.exchange.phase, table.caught]).toEqual(['auditing', []])
  })
})

describe('time', () => {
  test('that is over ends any phase but the last (X5)', async () => {
    const table = new Table({ auditRate: 1 })
    table.offer(0, 1)
    await table.clock.pass(UNTIL_MS / 2 + phaseMs(0) - 2) // gathering took half, and sending all that it may
    table.held(0, [0, 1])
    table.held(1, [0, 1])
    await table.clock.pass(UNTIL_MS)
    expect([table.over, table.clock.waiting, table.exchange.phase]).toEqual([1, 0, 'over'])
    expect(table.ends()).toEqual({ 0: 'direct', 1: 'direct' })
  })

  test('slices take longer when they are longer (X5)', async () => {
    const parameters = 400 * GRAIN // 6.5 MB
    const table = new Table({ size: 2, parameters })
    table.offer(0, 1)
    const bytes = CODECS.f32.byteLength(parameters) / 2
    await table.clock.pass(phaseMs(2 * 2 * bytes) - 2)
    expect(table.exchange.phase).toBe('scattering')
    await table.clock.pass(2)
    expect(table.exchange.phase).toBe('over')
  })
})

const index = fc.nat({ max: 4 })
const command = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('offer' as const), index }) },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('held' as const),
      index,
      from: fc.oneof(fc.constant(all(5)), fc.array(index, { maxLength: 5 })),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('lost' as const), index, withdraws: fc.boolean() }) },
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant('bring' as const),
      index,
      kind: fc.constantFrom<PieceKind>('mean', 'own', 'whole'),
      slice: index,
      honest: fc.integer({ min: 0, max: 9 }).map((n) => n > 0),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('honestly' as const),
      who: fc.subarray(all(5), { minLength: 1 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 40_000 }) }),
  },
)
type Command = typeof command extends fc.Arbitrary<infer T> ? T : never

const world = fc.record({
  size: fc.integer({ min: 2, max: 4 }),
  grains: fc.integer({ min: 1, max: 5 }),
  auditRate: fc.constantFrom(0, 0.5, 1),
  chances: fc.array(
    fc.integer({ min: 0, max: 99 }).map((n) => n / 100),
    { minLength: 1, maxLength: 5 },
  ),
  disk: fc.constantFrom('good', 'good', 'good', 'nothing', 'broken'),
  early: fc.subarray(all(5)),
  commands: fc.array(command, { minLength: 4, maxLength: 60 }),
})

test('whatever happens, it ends in time, and a mean has only members whose slices all came (X1 to X6)', async () => {
  let accepted = 0
  await fc.assert(
    fc.asyncProperty(world, async ({ size, grains, auditRate, chances, disk, early, commands }) => {
      let chance = 0
      const table = new Table({
        ...{ size, auditRate, parameters: grains * GRAIN },
        chance: () => chances[chance++ % chances.length] as number, // it has one
        sliceMean: async (hashes) => {
          if (disk === 'broken') throw new Error('disk')
          return disk === 'nothing' ? null : `mean of ${hashes.join('+')}`
        },
      })
      const { exchange } = table
      const held = new Map<number, readonly number[]>()
      const own = new Set<string>()
      /** By slice: the set that its mean was brought over. */
      const means = new Map<number, string>()
      const offered = new Set<number>()

      function bring({ index, kind, slice, honest }: Extract<Command, { do: 'bring' }>): void {
        const set = (table.set() as number[] | undefined) ?? []
        const right = { mean: meanHash(slice, set), own: sliceHash(index, slice), whole: name(index) }[kind]
        if (!table.bring(index, kind, slice, honest ? right : 'something else')) return
        if (kind === 'mean') means.set(slice, set.join())
        if (kind === 'own') own.add(`${index} ${slice}`)
      }

      /** These do what they are asked. */
      function honestly(who: readonly number[]): void {
        for (const index of who) {
          if (index >= size) continue
          if (exchange.phase === 'scattering') {
            held.set(index, all(size))
            table.held(index, all(size))
          }
          for (const slice of all(size))
            for (const kind of ['mean', 'own', 'whole'] as const)
              bring({ do: 'bring', index, kind, slice, honest: true })
        }
      }

      for (const index of early) if (index < size && table.offer(index)[0]) offered.add(index)
      for (const command of commands) {
        switch (command.do) {
          case 'offer':
            if (command.index < size && table.offer(command.index)[0]) offered.add(command.index)
            break
          case 'held':
            if (exchange.phase === 'scattering') held.set(command.index, command.from)
            table.held(command.index, command.from)
            break
          case 'lost':
            if (exchange.phase === 'gathering') offered.delete(command.index)
            table.lost(command.index, command.withdraws)
            break
          case 'bring':
            bring(command)
            break
          case 'honestly':
            honestly(command.who)
            break
          case 'pass':
            await table.clock.pass(command.ms)
        }
        await settled()
      }
      await table.clock.pass(table.until - table.clock.now())
      expect([exchange.phase, table.over, table.clock.waiting]).toEqual(['over', 1, 0])
      expect(table.results.length).toBeLessThanOrEqual(1)
      for (const index of all(size)) {
        const ends = table.ends()[index]
        if (offered.has(index))
          expect(['accepted', 'direct']).toContain(ends) // once
        else expect(ends).toBeUndefined()
      }
      const [result] = table.results
      if (result === undefined) return
      accepted += 1
      expect(result.members.length).toBeGreaterThan(1)
      expect(result.slices).toHaveLength(table.slices.filter(({ bytes }) => bytes > 0).length)
      const reducers = table.told.find(({ event }) => event === 'exchange')?.message.reducers as number[]
      const members = result.members.map(({ volunteer }) => Number(volunteer.slice(1)))
      for (const [slice, { bytes }] of table.slices.entries()) {
        if (bytes === 0) continue
        const reducer = reducers[slice] as number // one a slice
        for (const index of members) {
          const heldIt = index === reducer || held.get(reducer)?.includes(index) === true
          const late = table.asked().some((one) => one.slice === slice && one.index === index)
          const mean = means.get(slice) === members.join()
          expect((mean && (heldIt || late)) || own.has(`${index} ${slice}`)).toBe(true)
        }
      }
    }),
    { numRuns: 5_000 },
  )
  expect(accepted).toBeGreaterThan(60)
})
