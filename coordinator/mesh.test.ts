/** Groups and exchanges on the whole coordinator: real HTTP, sockets and disk; the tabs have neither engine nor WebRTC. */
import { createHmac } from 'node:crypto'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CODECS } from '../shared/codec/codec.ts'
import { bytesToFloats } from '../shared/codec/floats.ts'
import { meanSlice, slicesOf } from '../shared/mesh/slices.ts'
import { ROUTES } from '../shared/protocol/admin.ts'
import { UPLOAD_LENGTH, UPLOAD_OFFSET } from '../shared/protocol/contribution.ts'
import { LIMITS } from '../shared/protocol/limits.ts'
import {
  type ExchangeMessage,
  exchangeSchema,
  type GroupMessage,
  groupSchema,
  MESH_LIMITS,
  ownSchema,
  type ReduceMessage,
  reduceSchema,
  settledSchema,
} from '../shared/protocol/mesh.ts'
import type { Lease, Receipt, RunConfig } from '../shared/protocol/run.ts'
import type { Coordinator } from './coordinator.ts'
import { iceServers } from './mesh/ice.ts'
import type { Machine } from './rounds/state.ts'
import { boundOf } from './runs/contribution.ts'
import { type Answer, call, logInFirst, post, sha256, smallRun, startOn, Tab, until } from './testing.ts'

const TURN_SECRET = 'a secret shared with coturn'
const ENVIRONMENT = {
  POTLUCK_STUN: 'stun:stun.example:3478',
  POTLUCK_TURN: 'turn:turn.example:3478,turns:turn.example:5349',
  POTLUCK_TURN_SECRET: TURN_SECRET,
}
const TOKENS_A_STEP = 64

let folder: string
let coordinator: Coordinator
let operator: Record<string, string>
let tabs: Member[] = []

const machine = (): Machine => {
  const found = coordinator.runs.machine
  if (!found) throw new Error('The run is not prepared.')
  return found
}
const base = () => (machine().fragments[0] as Machine['fragments'][number]).base // runs of one fragment
const refusal = (code: string) => ({ error: { code, message: expect.any(String) } })

/** A tab that has channels to everybody, as it says. What it heard is kept, parsed as the page would. */
class Member {
  group: GroupMessage | null = null
  exchange: ExchangeMessage | null = null
  reduce: ReduceMessage | null = null
  lease: Lease | null = null
  bytes = new Uint8Array()
  steps = 2
  own: (number | null)[] = []
  ends: { receipt: Receipt | null; why: string }[] = []

  private constructor(readonly tab: Tab) {
    const { socket } = tab
    socket.on('group', (message) => {
      this.group = groupSchema.parse(message)
    })
    socket.on('groupOver', ({ group }: { group: string }) => {
      if (group === this.group?.group) this.group = null
    })
    socket.on('exchange', (message) => {
      this.exchange = exchangeSchema.parse(message)
    })
    socket.on('reduce', (message) => {
      this.reduce = reduceSchema.parse(message)
    })
    socket.on('own', (message) => this.own.push(ownSchema.parse(message).slice))
    socket.on('settled', (message) => this.ends.push(settledSchema.parse(message)))
  }

  static async joined(token?: string): Promise<Member> {
    const member = new Member(await Tab.joined(coordinator.url, token))
    tabs.push(member)
    return member
  }

  get index(): number {
    return this.group?.index ?? -1
  }

  /** Before another exchange. */
  forget(): void {
    Object.assign(this, { exchange: null, reduce: null, lease: null, own: [], ends: [] })
  }

  /** What became of it in the exchange. */
  get result(): string | undefined {
    return this.ends[0]?.receipt?.result
  }

  get slices() {
    return slicesOf(machine().parameters, this.group?.size ?? 0, machine().config.codec)
  }

  slice(index: number): Uint8Array<ArrayBuffer> {
    const { offset = 0, bytes = 0 } = this.slices[index] ?? {}
    return this.bytes.slice(offset, offset + bytes)
  }

  linked(others: readonly number[]): Promise<unknown> {
    return this.tab.ask('linked', { group: this.group?.group, with: others, bytesPerSecond: null })
  }

  offer(more: object = {}): Promise<unknown> {
    return this.tab.ask('offer', {
      ...{ group: this.group?.group, lease: this.lease?.id, steps: this.steps, loss: 5 },
      ...{ sha256: sha256(this.bytes), slices: this.slices.map((_, s) => sha256(this.slice(s))) },
      ...more,
    })
  }

  held(from: readonly number[]): Promise<unknown> {
    return this.tab.ask('held', { exchange: this.exchange?.exchange, from })
  }

  put(
    slice: number,
    kind: string,
    bytes: Uint8Array<ArrayBuffer>,
    { hash = sha256(bytes), exchange = this.exchange?.exchange, offset = 0, method = 'PUT' } = {},
  ): Promise<Answer> {
    const attempt = kind === 'mean' ? (this.reduce?.attempt ?? 0) : 0
    const query = new URLSearchParams({
      ...{ kind, sha256: hash, offset: String(offset), attempt: String(attempt) },
    })
    return call(`${coordinator.url}${ROUTES.exchange(exchange ?? '', slice)}?${query}`, {
      method,
      headers: { 'content-type': 'application/octet-stream', authorization: `Bearer ${this.tab.token}` },
      body: method === 'PUT' ? bytes : null,
    })
  }

  /** Its own slice, or everything. */
  bringOwn(slice: number | null): Promise<Answer> {
    return slice === null ? this.put(0, 'whole', this.bytes) : this.put(slice, 'own', this.slice(slice))
  }

  direct() {
    return this.tab.send(this.lease as Lease, this.bytes, { steps: this.steps }) // it has one
  }
}

async function begin(config: Partial<RunConfig>): Promise<void> {
  const answer = await post(coordinator.url + ROUTES.adminRuns, { ...smallRun, ...config }, operator)
  expect(answer.status).toBeLessThan(300)
  await until(() => coordinator.runs.view()?.status === 'ready', 'the prepared run')
  await post(coordinator.url + ROUTES.adminRunAction('start'), {}, operator)
}

async function end(): Promise<void> {
  await until(() => coordinator.runs.view()?.phase !== 'merging', 'the merge')
  for (const { tab } of tabs) tab.close()
  tabs = []
  await post(coordinator.url + ROUTES.adminRunAction('end'), {}, operator)
}

async function emptyTable(): Promise<void> {
  for (const { tab } of tabs.splice(0)) tab.close()
  await until(() => coordinator.runs.view()?.present === 0, 'an empty table')
}

/** Volunteers in one group with open channels. In order of their places. */
async function groupOf(size: number): Promise<Member[]> {
  const members: Member[] = []
  for (let i = 0; i < size; i++) members.push(await Member.joined())
  for (const { tab } of members) await tab.ask('mesh', { on: true })
  await until(() => members.every(({ group }) => group?.size === size), 'the group')
  for (const member of members) {
    await member.linked(members.flatMap(({ index }) => (index === member.index ? [] : [index])))
  }
  return members.sort((a, b) => a.index - b.index)
}

/** Each has trained: another pseudo-gradient, by other numbers of steps. */
async function train(members: readonly Member[], seed = 0): Promise<void> {
  for (const member of members) member.lease = await member.tab.lease()
  const { parameters, config } = machine()
  const reach = boundOf(machine(), { volunteer: 'nobody-00', round: machine().round, after: null }, 1) / 2
  for (const [i, member] of members.entries()) {
    member.steps = 1 + (i % 2)
    const delta = Float32Array.from(
      { length: parameters },
      (_, k) => reach * Math.sin(k * (i + 1) + i + seed),
    )
    member.bytes = CODECS[config.codec].encode(delta)
  }
}

async function offerAll(members: readonly Member[]): Promise<void> {
  for (const member of members) expect(await member.offer()).toEqual({ exchange: expect.any(String) })
  await until(() => members.every(({ exchange }) => exchange !== null), 'the exchange')
}

/** As honest tabs do, whose channels bring everything at once. */
async function scatter(members: readonly Member[]): Promise<void> {
  await offerAll(members)
  for (const member of members) await member.held(members.map(({ index }) => index))
  await until(() => members.every(({ reduce }) => reduce !== null), 'the set')
}

/** Of one slice, with the weights that the coordinator told. */
function meanOf(members: readonly Member[], slice: number): Uint8Array<ArrayBuffer> {
  const sets = members.flatMap(({ reduce }) => reduce ?? []).sort((a, b) => b.attempt - a.attempt)
  const set = sets[0]?.set ?? [] // the newest
  const weighed = set.map(({ index, weight }) => ({
    ...{ weight, bytes: members.find((member) => member.index === index)?.slice(slice) ?? new Uint8Array() },
  }))
  return meanSlice(machine().config.codec, members[0]?.slices[slice]?.count ?? 0, weighed)
}

async function bringMeans(members: readonly Member[], slices: readonly number[]): Promise<void> {
  for (const slice of slices) {
    const reducer = members.find(({ index }) => index === slice)
    expect(await reducer?.put(slice, 'mean', meanOf(members, slice))).toMatchObject({ status: 200 })
  }
}

/** They do all that they are asked, until everybody has heard of the end. */
async function serve(members: readonly Member[]): Promise<void> {
  const done = new Map<Member, { attempt: number; own: number }>()
  const idle = { attempt: 0, own: 0 }
  await until(async () => {
    for (const member of members) {
      const { attempt, own } = done.get(member) ?? idle
      done.set(member, { attempt: member.reduce?.attempt ?? 0, own: member.own.length })
      if (member.ends.length > 0) continue
      if (member.reduce && member.reduce.attempt > attempt)
        await member.put(member.index, 'mean', meanOf(members, member.index))
      for (const slice of member.own.slice(own)) await member.bringOwn(slice)
    }
    return members.every(({ ends }) => ends.length > 0)
  }, 'the end of the exchange')
}

const settled = (members: readonly Member[]) =>
  until(() => members.every(({ ends }) => ends.length > 0), 'the end of the exchange')

async function weightsOf(hash: string): Promise<Float32Array> {
  return bytesToFloats(new Uint8Array(await (await fetch(coordinator.url + ROUTES.blob(hash))).arrayBuffer()))
}

async function incoming(): Promise<string[]> {
  return readdir(join(folder, 'vault', 'incoming'))
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'potluck-'))
  coordinator = await startOn(folder, ENVIRONMENT)
  operator = await logInFirst(coordinator)
})
afterAll(async () => {
  for (const { tab } of tabs) tab.close()
  await coordinator?.stop()
  await rm(folder, { recursive: true, force: true })
})

const roundIs = (round: number) =>
  until(() => machine().round === round && machine().phase === 'training', `round ${round}`)

/** The newest round's summary, against what these have trained. */
function expectRound(members: readonly Member[], contributions: number): void {
  const steps = members.reduce((sum, member) => sum + member.steps, 0)
  const round = coordinator.runs.rounds.at(-1)
  expect(round).toMatchObject({ replicas: members.length, steps, tokens: steps * TOKENS_A_STEP })
  const bytes = CODECS[machine().config.codec].byteLength(machine().parameters)
  expect(round?.bytesUp).toBeGreaterThanOrEqual(contributions * bytes)
  expect(round?.bytesUp).toBeLessThan(contributions * bytes + 10) // each member's share is a whole number
}

/**
 * How far a round of the group and one of the star with the same contributions moved the weights from one another, at
 * most; without momentum both move them by η times the mean.
 */
async function apart(members: readonly Member[], exchange: () => Promise<void>): Promise<number> {
  const first = await weightsOf(base().weights)
  await train(members)
  await scatter(members)
  await exchange()
  await settled(members)
  for (const { ends, lease, steps } of members) {
    const accepted = { lease: lease?.id, result: 'accepted', tokens: steps * TOKENS_A_STEP }
    expect(ends.map(({ receipt }) => receipt)).toEqual([expect.objectContaining(accepted)])
  }
  await roundIs(2)
  expectRound(members, 1)
  const together = await weightsOf(base().weights)
  for (const member of members) {
    member.forget()
    member.lease = await member.tab.lease()
  }
  for (const member of members) expect((await member.direct()).body.result).toBe('accepted')
  await roundIs(3)
  expectRound(members, members.length)
  const alone = await weightsOf(base().weights)
  let worst = 0
  let moved = 0
  for (let i = 0; i < first.length; i++) {
    const [before, between, after] = [first[i] ?? 0, together[i] ?? 0, alone[i] ?? 0]
    worst = Math.max(worst, Math.abs(before - between - (between - after)))
    moved = Math.max(moved, Math.abs(before - between))
  }
  expect(moved).toBeGreaterThan(1e-5)
  return worst
}

describe('a group of three', () => {
  let members: Member[]
  beforeAll(async () => {
    await begin({ codec: 'f32', replicas: 3, quorum: 3, groupSize: 3, outerMomentum: 0 })
    members = await groupOf(3)
  })
  afterAll(end)

  test('has the star’s result, and each member its credit once (X4 G1 G2 R7)', async () => {
    const worst = await apart(members, async () => {
      await bringMeans(members, [0, 1, 2])
      await settled(members)
      for (const member of members) {
        // As if it had not heard of the end.
        const tokens = member.steps * TOKENS_A_STEP
        expect((await member.direct()).body).toMatchObject({ result: 'accepted', tokens, repeated: true })
        const other = member.bytes.map((byte, i) => (i === 7 ? byte ^ 1 : byte))
        const changed = await member.tab.send(member.lease as Lease, other, { steps: member.steps })
        expect(changed.body).toMatchObject({ result: 'rejected', reason: 'duplicate' })
      }
    })
    expect(worst).toBeLessThan(2.5e-7) // two roundings of weights about 1
    for (const { tab, steps } of members) {
      const again = await Tab.open(coordinator.url, tab.token)
      again.close()
      const tokens = 2 * steps * TOKENS_A_STEP // of two rounds
      expect(again.welcome.volunteer).toMatchObject({ acceptedContributions: 2, tokens })
    }
  })

  test('goes on when a reducer disappears: the others bring their own slices, and it comes back alone (X2 X3 X5)', async () => {
    const [first, second, third] = members as [Member, Member, Member]
    for (const member of members) member.forget()
    await train(members, 3)
    await offerAll(members)
    for (const member of [first, second]) await member.held([0, 1])
    third.tab.close()
    await until(() => first.own.length > 0 && second.own.length > 0, 'the question for own slices')
    expect([first.own, second.own]).toEqual([[2], [2]])
    expect(first.reduce?.set.map(({ index }) => index)).toEqual([0, 1])
    await bringMeans([first, second], [0, 1])
    const honest = first.slice(2)
    expect((await first.put(2, 'own', honest)).status).toBe(200)
    expect((await first.put(2, 'own', honest)).status).toBe(200) // its answer was lost
    expect((await second.put(2, 'own', second.slice(2))).status).toBe(200)
    await settled([first, second])
    expect([first.result, second.result]).toEqual(['accepted', 'accepted'])
    expect(coordinator.runs.view()?.accepted).toBe(2)
    const back = await Member.joined(third.tab.token)
    Object.assign(back, { lease: await back.tab.lease(), bytes: third.bytes, steps: third.steps })
    expect((await back.direct()).body.result).toBe('accepted')
    await until(() => machine().round === 4, 'the fourth round')
    expect(coordinator.runs.rounds.at(-1)).toMatchObject({ replicas: 3 })
  })
})

describe.each([
  ['reducing', 0],
  ['auditing', 1],
] as const)('a group of three of which one disappears in the %s phase', (phase, auditRate) => {
  let members: Member[]
  beforeAll(async () => {
    await begin({ codec: 'f32', replicas: 3, quorum: 2, groupSize: 3, outerMomentum: 0, auditRate })
    members = await groupOf(3)
  })
  afterAll(end)

  test('goes on with the other two, who do not send it all directly (X3 X5 X6)', async () => {
    const [, , third] = members as [Member, Member, Member]
    await train(members, 6)
    await scatter(members)
    if (phase === 'auditing') {
      await bringMeans(members, [0, 1, 2])
      await until(() => third.own.length > 0, 'the audit')
    }
    third.tab.close()
    const two = members.slice(0, 2)
    await until(() => two.every(({ reduce }) => reduce?.attempt === 2), 'the smaller set')
    expect(two[0]?.reduce?.set.map(({ index }) => index)).toEqual([0, 1])
    await serve(two)
    expect(two.map(({ result }) => result)).toEqual(['accepted', 'accepted'])
    const before = await weightsOf(base().weights)
    const back = await Member.joined(third.tab.token)
    Object.assign(back, { lease: await back.tab.lease(), bytes: third.bytes, steps: third.steps })
    expect((await back.direct()).body.result).toBe('accepted')
    await roundIs(2)
    expect(coordinator.runs.rounds.at(-1)).toMatchObject({ replicas: 3 })
    expect(coordinator.runs.problems.list()).toEqual([])
    // η times the mean of all three, by their tokens.
    const after = await weightsOf(base().weights)
    const weight = members.reduce((sum, { steps }) => sum + steps, 0)
    const mean = new Float64Array(before.length)
    for (const { bytes, steps } of members)
      CODECS.f32.decode(bytes, before.length).forEach((value, i) => {
        mean[i] = (mean[i] ?? 0) + (steps / weight) * value
      })
    const miss = before.reduce(
      (worst, value, i) => Math.max(worst, Math.abs(value - 0.6 * (mean[i] ?? 0) - (after[i] ?? 0))),
      0,
    )
    expect(miss).toBeLessThan(2.5e-7)
  })
})

describe('a group of four that is always looked at', () => {
  let members: Member[]
  beforeAll(async () => {
    await begin({ codec: 'int8', replicas: 4, quorum: 4, groupSize: 4, outerMomentum: 0, auditRate: 1 })
    members = await groupOf(4)
  })
  afterAll(end)

  /** Everybody brings what they are asked for. Answers the slice that is looked at. */
  async function answerAudit(): Promise<number> {
    const asked = () => members.flatMap(({ own }) => own)
    await until(() => asked().length === members.length + 1, 'the audit')
    for (const member of members) {
      for (const slice of member.own) expect((await member.bringOwn(slice)).status).toBe(200)
    }
    return asked().find((slice) => slice !== null) ?? -1
  }

  test('has the star’s result within the codec’s rounding, and nobody is blamed (X4 X6 G1 G2)', async () => {
    const reach = boundOf(machine(), { volunteer: 'nobody-00', round: 1, after: null }, 1) / 2
    const worst = await apart(members, async () => {
      await bringMeans(members, [0, 1, 2, 3])
      await answerAudit()
    })
    const [outerRate, rounding, scaleOfF16] = [0.6, 0.5 / 127, 2 ** -11]
    expect(worst).toBeLessThan(outerRate * reach * (rounding + scaleOfF16) + 1e-6)
    expect(worst).toBeGreaterThan(1e-9) // it is another way
    expect(coordinator.runs.problems.list()).toEqual([])
  })

  test('in which a reducer lies has what is right, and the operator hears of it (X6)', async () => {
    for (const member of members) member.forget()
    await train(members, 4)
    await scatter(members)
    for (const slice of [0, 1, 2, 3]) {
      const lie = meanOf(members, slice).map((byte, i) => (i === 7 ? byte ^ 1 : byte))
      expect((await members[slice]?.put(slice, 'mean', lie))?.status).toBe(200)
    }
    const looked = await answerAudit()
    await settled(members)
    expect(members.map(({ result }) => result)).toEqual(Array(4).fill('accepted'))
    const problems = coordinator.runs.problems.list().filter(({ code }) => code === 'mesh-dishonest')
    expect(problems).toHaveLength(1)
    expect(problems[0]?.message).toContain(members[looked]?.tab.id)
    await until(() => members.every(({ group }) => group?.size !== 4), 'the end of the group')
  })

  test('whose members go further than steps can go lose one after the other, and nothing comes of it (X6)', async () => {
    await emptyTable()
    members = await groupOf(4)
    await train(members, 5)
    const reach = boundOf(machine(), { volunteer: 'nobody-00', round: machine().round, after: null }, 2)
    for (const member of members) {
      // Whoever is looked at is one of them; their mean would pass.
      const sign = member.index % 2 === 0 ? 1 : -1
      member.bytes = CODECS.int8.encode(new Float32Array(machine().parameters).fill(sign * 3 * reach))
    }
    await scatter(members)
    await serve(members)
    expect(members.map(({ result }) => result)).toEqual(Array(4).fill(undefined))
    const problems = coordinator.runs.problems.list().filter(({ code }) => code === 'mesh-dishonest')
    expect(problems[0]?.message).toContain('cannot count')
    expect(coordinator.runs.view()?.accepted).toBe(0)
  })
})

describe('a group of two', () => {
  let members: [Member, Member]
  beforeAll(async () => {
    await begin({ codec: 'f16', groupSize: 2 })
    members = (await groupOf(2)) as [Member, Member]
  })
  afterAll(end)

  /** Another round's exchange, as far as the set. */
  async function anew(seed: number): Promise<void> {
    for (const member of members) member.forget()
    await train(members, seed)
    await scatter(members)
  }

  test('gets STUN, and TURN with credentials of its own (M2)', () => {
    for (const { group, tab } of members) {
      const [stun, turn] = group?.iceServers ?? []
      expect(stun).toEqual({ urls: ['stun:stun.example:3478'] })
      expect(turn?.urls).toEqual(['turn:turn.example:3478', 'turns:turn.example:5349'])
      const [ends, who] = turn?.username?.split(':') ?? []
      expect(who).toBe(tab.id)
      expect(Number(ends)).toBeGreaterThan(Date.now() / 1_000 + 3_600)
      const hmac = createHmac('sha1', TURN_SECRET).update(turn?.username ?? '')
      expect(turn?.credential).toBe(hmac.digest('base64'))
    }
  })

  test('passes signals on, to one another only (M5)', async () => {
    const [first, second] = members
    const heard: unknown[] = []
    second.tab.socket.on('relayed', (message) => heard.push(message))
    const group = first.group?.group
    expect(await first.tab.ask('signal', { group, to: 1, signal: '1:{"a":1}' })).toBe(true)
    await until(() => heard.length > 0, 'the signal')
    expect(heard).toEqual([{ group, from: 0, signal: '1:{"a":1}' }])
    expect(await first.tab.ask('signal', { group, to: 0, signal: 'x' })).toBe(false)
    const stranger = await Member.joined()
    expect(await stranger.tab.ask('signal', { group, to: 1, signal: 'x' })).toBe(false)
    stranger.tab.close()
    expect(heard).toHaveLength(1)
  })

  test('refuses garbage with a code, and goes on (M5)', async () => {
    const [first] = members
    const group = first.group?.group
    const hash = 'a'.repeat(64)
    const garbage: [string, unknown][] = [
      ['mesh', null],
      ['mesh', { on: 'yes' }],
      ['signal', { group, to: 1, signal: 'x'.repeat(MESH_LIMITS.signalCharacters + 1) }],
      ['signal', { group, to: 8, signal: '' }],
      ['signal', { group, to: 1, signal: { sdp: '' } }],
      ['linked', { group, with: [0, 1, 2, 3, 4, 5, 6, 7, 0], bytesPerSecond: null }],
      ['linked', { group, with: [-1], bytesPerSecond: null }],
      ['linked', { group, with: [1], bytesPerSecond: -1 }],
      ['offer', { group, lease: 'x', steps: 0, loss: 5, sha256: hash, slices: [hash, hash] }],
      ['offer', { group, lease: '../../etc', steps: 1, loss: 5, sha256: hash, slices: [hash, hash] }],
      [
        'offer',
        { group, lease: 'a-lease-of-mine', steps: 1, loss: 5, sha256: 'short', slices: [hash, hash] },
      ],
      [
        'offer',
        { group, lease: 'a-lease-of-mine', steps: 1, loss: 5, sha256: hash, slices: Array(9).fill(hash) },
      ],
      ['offer', 'offer'],
      ['held', { exchange: 7, from: [] }],
      ['held', { exchange: 'an-exchange', from: 'all' }],
      ['quit', { exchange: 'an-exchange', why: 'x'.repeat(201) }],
    ]
    for (const [event, message] of garbage) {
      expect([event, await first.tab.ask(event, message)]).toEqual([event, refusal('bad-request')])
    }
    // Of what is over, or never was, nobody minds.
    await first.tab.ask('held', { exchange: 'no-exchange-at-all', from: [0] })
    await first.tab.ask('quit', { exchange: 'no-exchange-at-all', why: '' })
    await first.tab.ask('linked', { group: 'no-group-at-all', with: [0], bytesPerSecond: null })
    const nothing = { lease: 'no-lease-at-all', steps: 1, loss: 5, sha256: hash, slices: [hash, hash] }
    expect(await first.tab.ask('offer', { group, ...nothing })).toEqual({ direct: 'no round' })
    expect(await first.tab.ask('offer', { group: 'no-group-at-all', ...nothing })).toEqual({
      direct: 'no group',
    })
    expect(first.group?.group).toBe(group)
  })

  test('refuses slices that nobody waits for, or other ones, with a code (X2 X3)', async () => {
    const [first, second] = members
    await train(members)
    const early = await first.put(0, 'mean', first.slice(0), { exchange: 'no-exchange-at-all' })
    expect([early.status, early.body]).toEqual([404, refusal('not-found')])
    expect(await second.offer({ slices: [sha256(second.bytes)] })).toEqual({ direct: 'other slices' })
    await scatter(members)
    const mean = meanOf(members, 0)
    const cases: [string, () => Promise<Answer>, number, string][] = [
      ['somebody else’s slice', () => second.put(0, 'mean', mean), 404, 'not-found'],
      ['its own before it is asked', () => first.put(0, 'own', first.slice(0)), 404, 'not-found'],
      ['its whole before it is asked', () => first.put(0, 'whole', first.bytes), 404, 'not-found'],
      ['a slice beyond the last', () => first.put(2, 'mean', mean), 404, 'not-found'],
      ['a slice beyond all', () => first.put(8, 'mean', mean), 400, 'bad-request'],
      ['another kind', () => first.put(0, 'sum', mean), 400, 'bad-request'],
      ['no hash', () => first.put(0, 'mean', mean, { hash: 'abc' }), 400, 'bad-request'],
      ['too short', () => first.put(0, 'mean', mean.slice(1)), 422, 'bad-request'],
      ['too long', () => first.put(0, 'mean', new Uint8Array(mean.length + 1)), 422, 'bad-request'],
      [
        'another hash than its bytes have',
        () => first.put(0, 'mean', mean, { hash: 'b'.repeat(64) }),
        422,
        'bad-request',
      ],
      [
        'ahead of what has come',
        () => first.put(0, 'mean', mean.slice(9), { offset: 9 }),
        409,
        'upload-offset',
      ],
    ]
    for (const [what, answer, status, code] of cases) {
      const { body, status: got } = await answer()
      expect([what, got, body]).toEqual([what, status, refusal(code)])
    }
    const path = `${coordinator.url}${ROUTES.exchange(first.exchange?.exchange ?? '', 0)}?kind=mean&sha256=${sha256(mean)}`
    const anonymous = await call(path, {
      method: 'PUT',
      headers: { 'content-type': 'application/octet-stream' },
      body: mean,
    })
    expect([anonymous.status, anonymous.body]).toEqual([401, refusal('unauthorized')])
    const json = { 'content-type': 'application/json', authorization: `Bearer ${first.tab.token}` }
    expect((await call(path, { method: 'PUT', headers: json, body: '{}' })).status).toBe(415)
  })

  test('tells how much of a slice has come, and takes the rest (X3)', async () => {
    const [first, second] = members
    const mean = meanOf(members, 0)
    const asked = () => first.put(0, 'mean', mean, { method: 'HEAD' })
    const before = await asked()
    expect([before.headers.get(UPLOAD_OFFSET), before.headers.get(UPLOAD_LENGTH)]).toEqual([
      '0',
      `${mean.length}`,
    ])
    expect((await first.put(0, 'mean', mean)).status).toBe(200)
    expect((await asked()).headers.get(UPLOAD_OFFSET)).toBe(`${mean.length}`)
    const other = mean.map((byte, i) => (i === 7 ? byte ^ 1 : byte))
    expect((await first.put(0, 'mean', other)).body).toEqual(refusal('bad-request'))
    await second.put(1, 'mean', meanOf(members, 1))
    await settled(members)
    expect(members.map(({ ends }) => ends[0]?.receipt)).toEqual([
      ...Array(2).fill(expect.objectContaining({ result: 'accepted' })),
    ])
    await until(async () => (await incoming()).length === 0, 'an empty folder')
    expect((await asked()).status).toBe(404)
  })

  test('whose exchange fails leaves nothing of it on the disk (X5 X7)', async () => {
    const [first] = members
    await roundIs(2)
    await anew(1)
    await bringMeans(members, [0])
    await first.tab.ask('quit', { exchange: first.exchange?.exchange, why: 'a test' })
    await settled(members)
    expect(members.map(({ ends }) => ends[0]?.receipt)).toEqual([null, null])
    for (const member of members) expect((await member.direct()).body.result).toBe('accepted')
    await roundIs(3)
    await until(async () => (await incoming()).length === 0, 'an empty folder')
    await coordinator.runs.checkpoints.prune()
    const names = await readdir(join(folder, 'vault'), { recursive: true })
    const hashes = names.flatMap((name) => /[0-9a-f]{64}$/.exec(name)?.[0] ?? [])
    for (const slice of [0, 1]) {
      for (const member of members) expect(hashes).not.toContain(sha256(member.slice(slice)))
      expect(hashes).not.toContain(sha256(meanOf(members, slice)))
    }
    for (const { bytes } of members) expect(hashes).toContain(sha256(bytes)) // of the newest round
  })

  test('that restarts in mid-exchange sends directly, and nothing lies about (X7)', async () => {
    await anew(2)
    await bringMeans(members, [0])
    expect((await incoming()).length).toBeGreaterThan(0)
    const { lease, bytes, steps, exchange } = members[1]
    const tokens = members.map(({ tab }) => tab.token)
    await coordinator.stop()
    coordinator = await startOn(folder, ENVIRONMENT)
    expect(await incoming()).toEqual([])
    const back = await Promise.all(tokens.map((token) => Member.joined(token)))
    expect(coordinator.runs.view()?.accepted).toBe(0)
    Object.assign(back[1] as Member, { lease, bytes, steps, exchange })
    const gone = await back[1]?.put(1, 'mean', bytes.slice(0, 10))
    expect([gone?.status, gone?.body]).toEqual([404, refusal('not-found')])
    expect((await back[1]?.direct())?.body.result).toBe('accepted')
    Object.assign(back[0] as Member, members[0], { tab: back[0]?.tab })
    expect((await back[0]?.direct())?.body.result).toBe('accepted')
    await until(() => machine().round === 4, 'the fourth round')
  })

  test('is over for who spoils its means with what cannot count (X5 X6)', async () => {
    await emptyTable()
    members = (await groupOf(2)) as [Member, Member]
    const [spoiler, honest] = members
    await train(members, 5)
    spoiler.bytes.fill(0xff) // no number in f16
    await scatter(members)
    expect(() => meanOf(members, 1)).toThrow()
    await honest.tab.ask('quit', { exchange: honest.exchange?.exchange, why: 'No numbers.' })
    await settled(members)
    expect((await spoiler.direct()).body).toMatchObject({ result: 'rejected', reason: 'not-finite' })
    await until(() => members.every(({ group }) => group === null), 'the end of the group')
    const problems = coordinator.runs.problems.list().filter(({ code }) => code === 'mesh-dishonest')
    expect(problems.at(0)?.message).toContain(spoiler.tab.id)
    expect((await honest.direct()).body.result).toBe('accepted')
  })

  test('may send so many signals and no more (M5)', async () => {
    const [tab] = tabs.slice(-1).map((member) => member.tab)
    const signal = { group: 'no-group-at-all', to: 0, signal: '' }
    const asked = Array.from({ length: MESH_LIMITS.signals.points + 1 }, () => tab?.ask('signal', signal))
    const answers = await Promise.all(asked)
    expect(answers.slice(0, -1).every((answer) => answer === false)).toBe(true)
    expect(answers.at(-1)).toEqual(refusal('rate-limited'))
    expect(await tab?.ask('mesh', { on: false })).toEqual({ ok: true }) // that is another budget
  })

  test('may send so many slices and no more (M5)', async () => {
    const [member] = tabs.slice(-1) as [Member]
    const send = () => member.put(0, 'mean', Uint8Array.of(1), { exchange: 'no-exchange-at-all' })
    let [answer, count] = [await send(), 1]
    for (; answer.status === 404 && count <= 2 * LIMITS.uploadsPerMinute; count++) answer = await send()
    expect([answer.status, answer.body]).toEqual([429, refusal('rate-limited')])
    expect(count).toBeGreaterThan(2 * LIMITS.uploadsPerMinute - 10) // it has sent some before
  })
})

test('TURN credentials are those of coturn’s REST form', () => {
  const turn = { urls: ['turn:t:3478'], secret: 'north' }
  // printf '1700021600:v1' | openssl dgst -sha1 -hmac north -binary | base64
  expect(iceServers({ stun: [], turn }, 'v1', 1_700_000_000_999)).toEqual([
    { urls: ['turn:t:3478'], username: '1700021600:v1', credential: 'zj5GtW1xS4f12oIBAEBNORli1Lg=' },
  ])
  expect(iceServers({ stun: [], turn: null }, 'v1', 0)).toEqual([])
  expect(iceServers({ stun: ['stun:s'], turn: null }, 'v1', 0)).toEqual([{ urls: ['stun:s'] }])
})
