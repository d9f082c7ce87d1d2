/** The whole coordinator, as volunteers and the operator meet it: real HTTP, real sockets, a real folder. */
import { appendFile, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { CODECS } from '../shared/codec/codec.ts'
import { bytesToFloats } from '../shared/codec/floats.ts'
import { ROUTES } from '../shared/protocol/admin.ts'
import type { Coordinator } from './coordinator.ts'
import type { Machine } from './rounds/state.ts'
import { boundOf } from './runs/contribution.ts'
import { openFileBlobStore } from './store/fileBlobs.ts'
import {
  call,
  contribution,
  logInFirst,
  post,
  send,
  sha256,
  smallRun,
  startOn,
  Tab,
  until,
} from './testing.ts'

let folder: string
let coordinator: Coordinator
let operator: Record<string, string>
let tabs: Tab[] = []

const machine = (): Machine => {
  const found = coordinator.runs.machine
  if (!found) throw new Error('The run is not prepared.')
  return found
}
const url = () => coordinator.url
const accepted = () => coordinator.runs.view()?.accepted
/** A good contribution: half as far as the recipe can go. */
const good = (phase = 0) => contribution(machine().parameters, boundOf(machine(), 1) / 2, phase)
const rejected = (reason: string) => expect.objectContaining({ result: 'rejected', reason })
const refusal = (code: string) => ({ error: { code, message: expect.any(String) } })

async function newTab(): Promise<Tab> {
  const tab = await Tab.joined(url())
  tabs.push(tab)
  return tab
}
const pair = async (): Promise<[Tab, Tab]> => [await newTab(), await newTab()]

/** Leaves no open lease and no half-full round to the next test. */
async function clearTable(): Promise<void> {
  await until(() => coordinator.runs.view()?.phase !== 'merging', 'the merge')
  for (const tab of tabs) if (tab.socket.connected) await tab.ask('leave')
  for (const tab of tabs) tab.close()
  tabs = []
  if (accepted() === 0) return
  const tab = await newTab()
  await tab.send(await tab.lease(), CODECS.f16.encode(new Float32Array(machine().parameters)))
  await clearTable()
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'potluck-'))
  coordinator = await startOn(folder)
  operator = await logInFirst(coordinator)
  await post(url() + ROUTES.adminRuns, smallRun, operator)
  await until(() => coordinator.runs.view()?.status === 'ready', 'the prepared run')
  await post(url() + ROUTES.adminRunAction('start'), {}, operator)
})
afterAll(async () => {
  await coordinator?.stop()
  await rm(folder, { recursive: true, force: true })
})

describe('the outer step', () => {
  afterEach(clearTable)

  it('merges accepted contributions, weighted by tokens, as computed by hand (R2, R6, D2)', async () => {
    const [a, b] = await pair()
    const { base, parameters } = machine()
    expect(base.velocity).toBeNull()
    const [leaseA, leaseB] = [await a.lease(), await b.lease()]
    const [bytesA, bytesB] = [good(1), good(2)]
    expect((await a.send(leaseA, bytesA)).body).toMatchObject({ result: 'accepted', tokens: 128 })
    expect((await b.send(leaseB, bytesB, { steps: 1 })).body).toMatchObject({ tokens: 64 })
    await until(() => machine().round === 2, 'round 2')

    const before = await weightsOf(base.weights)
    const after = await weightsOf(machine().base.weights)
    const [deltaA, deltaB] = [CODECS.f16.decode(bytesA, parameters), CODECS.f16.decode(bytesB, parameters)]
    const expected = before.map((theta, i) => {
      const mean = (128 * (deltaA[i] as number) + 64 * (deltaB[i] as number)) / 192
      return theta - 0.6 * (1 + 0.9) * mean
    })
    const worst = expected.reduce(
      (most, value, i) => Math.max(most, Math.abs(value - (after[i] as number))),
      0,
    )
    expect(after).not.toEqual(before)
    expect(worst).toBeLessThan(1e-7)
  })
})

async function weightsOf(hash: string): Promise<Float32Array> {
  const response = await fetch(url() + ROUTES.blob(hash))
  return bytesToFloats(new Uint8Array(await response.arrayBuffer()))
}

describe('a contribution', () => {
  afterEach(clearTable)

  it('is accepted with its tokens, and counts once however often it is sent', async () => {
    const [a] = await pair()
    const lease = await a.lease()
    const bytes = good()
    const first = await a.send(lease, bytes)
    expect([first.status, first.body]).toEqual([
      200,
      expect.objectContaining({ result: 'accepted', lease: lease.id, tokens: 128, repeated: false }),
    ])
    const again = await a.send(lease, bytes)
    expect([again.status, again.body]).toEqual([
      200,
      expect.objectContaining({ result: 'accepted', tokens: 128, repeated: true }),
    ])
    expect(accepted()).toBe(1)
  })

  it('counts once when the same bytes arrive several times at once', async () => {
    const [a] = await pair()
    const lease = await a.lease()
    const bytes = good()
    const answers = await Promise.all([a.send(lease, bytes), a.send(lease, bytes), a.send(lease, bytes)])
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200])
    const repeated = answers.map(({ body }) => body.result === 'accepted' && body.repeated)
    expect(repeated.filter((again) => !again)).toHaveLength(1)
    expect(accepted()).toBe(1)
  })

  it('with other bytes for an answered lease is a duplicate', async () => {
    const [a] = await pair()
    const lease = await a.lease()
    await a.send(lease, good(1))
    const other = await a.send(lease, good(2))
    expect([other.status, other.body]).toEqual([409, rejected('duplicate')])
    expect(accepted()).toBe(1)
  })

  it.each([
    ['a NaN', 'not-finite', (bytes: Uint8Array) => bytes.set([0, 0x7e], 104)],
    ['an infinite scale', 'not-finite', (bytes: Uint8Array) => bytes.set([0, 0, 0x80, 0x7f], 0)],
    ['a NaN for a scale', 'not-finite', (bytes: Uint8Array) => bytes.set([0, 0, 0xc0, 0x7f], 0)],
    ['a step too large', 'too-large-step', (bytes: Uint8Array) => bytes.set([0, 0, 0x80, 0x3f], 0)],
  ])('with %s is refused as %s and ends its lease (L5)', async (_name, reason, damage) => {
    const [a] = await pair()
    const lease = await a.lease()
    const bytes = good()
    damage(bytes)
    const answer = await a.send(lease, bytes)
    expect([answer.status, answer.body]).toEqual([422, rejected(reason)])
    expect(machine().leases[lease.id]).toBeUndefined()
    expect(accepted()).toBe(0)
  })

  it('just beyond the bound of its steps is too large, just within is not', async () => {
    const [a] = await pair()
    const bound = boundOf(machine(), 2)
    const beyond = await a.send(await a.lease(), contribution(machine().parameters, bound * 1.02))
    expect(beyond.body).toEqual(rejected('too-large-step'))
    const within = await a.send(await a.lease(), contribution(machine().parameters, bound * 0.99))
    expect(within.body.result).toBe('accepted')
  })

  it.each([
    ['a byte short', -1],
    ['empty but for its scale', -1e9],
    ['a byte long', 1],
    ['a megabyte long', 1_048_576],
  ])('that is %s may be sent again (L7)', async (_name, more) => {
    const [a] = await pair()
    const lease = await a.lease()
    const wrong = new Uint8Array(Math.max(4, lease.bytes + more))
    const answer = await a.send(lease, wrong)
    expect([answer.status, answer.body]).toEqual([422, rejected('wrong-length')])
    expect((await a.send(lease, good())).body.result).toBe('accepted')
  })

  it('damaged on the way may be sent again (L7)', async () => {
    const [a] = await pair()
    const lease = await a.lease()
    const answer = await a.send(lease, good(1), { sha256: sha256(good(2)) })
    expect([answer.status, answer.body]).toEqual([422, rejected('hash-mismatch')])
    expect((await a.send(lease, good(1))).body.result).toBe('accepted')
  })

  it('for somebody else’s lease, open or answered, is refused', async () => {
    const [a, b] = await pair()
    const lease = await a.lease()
    const open = await b.send(lease, good())
    expect([open.status, open.body]).toEqual([403, rejected('not-your-lease')])
    await a.send(lease, good())
    const answered = await b.send(lease, good())
    expect([answered.status, answered.body]).toEqual([403, rejected('not-your-lease')])
  })

  it('for a lease that never was is refused', async () => {
    const [a] = await pair()
    const answer = await send(url(), 'nosuchlease', { token: a.token, bytes: good() })
    expect([answer.status, answer.body]).toEqual([404, rejected('unknown-lease')])
  })

  it('of more steps than leased is refused', async () => {
    const [a] = await pair()
    const answer = await a.send(await a.lease(), good(), { steps: 3 })
    expect([answer.status, answer.body]).toEqual([422, rejected('bad-steps')])
  })

  it('that comes after its round closed is stale and changes nothing (R7)', async () => {
    const [late, a] = await pair()
    const lease = await late.lease()
    const bytes = good(3)
    const { round } = machine()
    const leaseA = await a.lease()
    await late.ask('release', { lease: lease.id })
    const b = await newTab()
    await a.send(leaseA, good(1))
    await b.send(await b.lease(), good(2))
    await until(() => machine().round === round + 1, 'the next round')
    const { base } = machine()
    expect(base.weights).not.toBe(lease.base)
    const answer = await late.send(lease, bytes)
    expect([answer.status, answer.body]).toEqual([409, rejected('stale')])
    expect(machine()).toMatchObject({ base, round: round + 1, accepted: {} })
  })

  it('sent again after its round was merged is still known', async () => {
    const [a, b] = await pair()
    const [leaseA, leaseB] = [await a.lease(), await b.lease()]
    const { round } = machine()
    const bytes = good(1)
    await a.send(leaseA, bytes)
    await b.send(leaseB, good(2))
    await until(() => machine().round === round + 1, 'the next round')
    expect((await a.send(leaseA, bytes)).body).toMatchObject({ result: 'accepted', repeated: true, round })
  })

  it('without a volunteer’s token is refused', async () => {
    const [a] = await pair()
    const lease = await a.lease()
    for (const token of [null, 'x'.repeat(43), 'short', operator.cookie ?? '']) {
      const answer = await send(url(), lease.id, { token, bytes: good() })
      expect([answer.status, answer.body]).toEqual([401, refusal('unauthorized')])
    }
  })

  it('with a wrong query is refused with every fault named', async () => {
    const [a] = await pair()
    const lease = await a.lease()
    const query = 'sha256=XYZ&steps=-1&loss=Infinity&more=1'
    const answer = await a.send(lease, good(), { query })
    expect([answer.status, answer.body]).toEqual([400, refusal('bad-request')])
    const text = JSON.stringify(answer.body)
    for (const fault of ['sha256', 'steps', 'loss', 'more']) expect(text).toContain(fault)
  })

  it('of random bytes of any length never troubles the server', async () => {
    const people = await pair()
    const length = (await (people[0] as Tab).lease()).bytes
    const lengths = [0, 1, 3, 4, 5, length - 1, length, length, length + 1, 2 * length]
    for (let i = 0; i < 40; i++) {
      const tab = people[i % 2] as Tab
      const answer = (await tab.ask('lease', { run: machine().run, round: 1 })) as { lease?: { id: string } }
      const bytes = noise(lengths[i] ?? Math.floor((length * i) / 30), i)
      const { status } = await send(url(), answer.lease?.id ?? 'nosuchlease', { token: tab.token, bytes })
      expect(status).toBeGreaterThanOrEqual(400)
      expect(status).toBeLessThan(500)
    }
    expect(accepted()).toBe(0)
    expect((await call(url() + ROUTES.ready)).status).toBe(200)
    expect(await readdir(join(folder, 'vault', 'incoming'))).toEqual([])
  })
})

function noise(length: number, seed: number): Uint8Array<ArrayBuffer> {
  let state = seed + 1
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state >>> 24
  })
}

describe('blobs', () => {
  const blob = (hash: string, headers = {}) => fetch(url() + ROUTES.blob(hash), { headers })

  it('are immutable, and served in ranges', async () => {
    const hash = machine().base.weights
    const whole = await blob(hash)
    expect(whole.headers.get('cache-control')).toBe('public, max-age=31536000, immutable')
    const bytes = new Uint8Array(await whole.arrayBuffer())
    expect(sha256(bytes)).toBe(hash)
    const part = await blob(hash, { range: 'bytes=8-23' })
    expect([part.status, part.headers.get('content-range')]).toEqual([206, `bytes 8-23/${bytes.length}`])
    expect(new Uint8Array(await part.arrayBuffer())).toEqual(bytes.slice(8, 24))
  })

  it('answer a bad name with 400 and an unknown one with 404', async () => {
    const [bad, unknown] = [
      await call(`${url()}/blobs/..%2f..%2fpotluck.sqlite`),
      await call(`${url()}/blobs/${'0'.repeat(64)}`),
    ]
    expect([bad.status, bad.body]).toEqual([400, refusal('bad-request')])
    expect([unknown.status, unknown.body]).toEqual([404, refusal('not-found')])
  })

  it('that were damaged on disk are not handed out, and the operator hears of it', async () => {
    const store = await openFileBlobStore(join(folder, 'blobs'))
    const hash = await store.put(noise(1_000, 7))
    await appendFile(store.path(hash), 'x')
    const answer = await call(url() + ROUTES.blob(hash))
    expect([answer.status, answer.body]).toEqual([500, refusal('bad-blob')])
    expect(coordinator.runs.problems.list()[0]).toMatchObject({ code: 'bad-blob' })
  })

  it('of the vault are nobody’s but the coordinator’s', async () => {
    const velocity = machine().base.velocity ?? ''
    expect((await blob(velocity)).status).toBe(404)
  })
})
