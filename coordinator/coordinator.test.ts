/** The whole coordinator, as volunteers and the operator meet it: real HTTP, real sockets, a real folder. */
import { appendFile, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { CODECS } from '../shared/codec/codec.ts'
import { bytesToFloats } from '../shared/codec/floats.ts'
import { ROUTES } from '../shared/protocol/admin.ts'
import { LIMITS } from '../shared/protocol/limits.ts'
import { PROTOCOL_VERSION } from '../shared/protocol/messages.ts'
import type { Coordinator } from './coordinator.ts'
import type { Machine } from './rounds/state.ts'
import { boundOf } from './runs/contribution.ts'
import { openFileBlobStore } from './store/fileBlobs.ts'
import {
  call,
  connect,
  contribution,
  logInFirst,
  outcome,
  PASSWORD,
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
const baseOf = (state: Machine) => (state.fragments[0] as Machine['fragments'][number]).base // a run of one
const base = () => baseOf(machine())
/** Of a lease that began at the global weights. */
const bound = (steps: number) =>
  boundOf(machine(), { volunteer: 'nobody-00', round: machine().round, after: null }, steps)
const url = () => coordinator.url
const accepted = () => coordinator.runs.view()?.accepted
/** A good contribution: half as far as the recipe can go. */
const good = (phase = 0) => contribution(machine().parameters, bound(1) / 2, phase)
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
    const { parameters } = machine()
    const first = base()
    expect(first.velocity).toBeNull()
    const [leaseA, leaseB] = [await a.lease(), await b.lease()]
    const [bytesA, bytesB] = [good(1), good(2)]
    expect((await a.send(leaseA, bytesA)).body).toMatchObject({ result: 'accepted', tokens: 128 })
    expect((await b.send(leaseB, bytesB, { steps: 1 })).body).toMatchObject({ tokens: 64 })
    await until(() => machine().round === 2, 'round 2')

    const before = await weightsOf(first.weights)
    const after = await weightsOf(base().weights)
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
    ['an infinite scale', 'not-finite', (bytes: Uint8Array) => bytes.set([0, 0x7c], 0)],
    ['a NaN for a scale', 'not-finite', (bytes: Uint8Array) => bytes.set([0, 0x7e], 0)],
    ['a step too large', 'too-large-step', (bytes: Uint8Array) => bytes.set([0, 0x3c], 0)],
  ])('with %s is refused as %s and ends its lease (L5)', async (_name, reason, damage) => {
    const [a] = await pair()
    const lease = await a.lease()
    const bytes = good()
    damage(bytes)
    const answer = await a.send(lease, bytes)
    expect([answer.status, answer.body]).toEqual([422, rejected(reason)])
    expect(machine().leases.get(lease.id)).toBeUndefined()
    expect(accepted()).toBe(0)
  })

  it('just beyond the bound of its steps is too large, just within is not', async () => {
    const [a] = await pair()
    const beyond = await a.send(await a.lease(), contribution(machine().parameters, bound(2) * 1.02))
    expect(beyond.body).toEqual(rejected('too-large-step'))
    const within = await a.send(await a.lease(), contribution(machine().parameters, bound(2) * 0.99))
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
    const { fragments } = machine()
    const answer = await late.send(lease, bytes)
    expect([answer.status, answer.body]).toEqual([409, rejected('stale')])
    expect(machine()).toMatchObject({ fragments, round: round + 1, accepted: {} })
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
      const answer = (await tab.ask('lease', {
        run: machine().run,
        after: null,
        tokensPerSecond: 1,
      })) as { lease?: { id: string } }
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
    const hash = base().weights
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
    const velocity = base().velocity ?? ''
    expect((await blob(velocity)).status).toBe(404)
  })
})

describe('a socket', () => {
  afterEach(clearTable)

  it.each([
    ['another protocol version', { protocol: PROTOCOL_VERSION + 1 }, 'protocol-version'],
    ['no protocol version', {}, 'bad-request'],
    ['a token of the wrong type', { protocol: PROTOCOL_VERSION, token: 5 }, 'bad-request'],
    ['something more', { protocol: PROTOCOL_VERSION, more: 1 }, 'bad-request'],
  ])('with %s is refused with the reason', async (_name, auth, code) => {
    const socket = connect(url(), auth)
    expect(await outcome(socket)).toMatchObject({ data: { code } })
    socket.disconnect()
  })

  it('opened by a foreign page is refused, one of our own is not', async () => {
    const auth = { protocol: PROTOCOL_VERSION }
    const foreign = connect(url(), auth, { origin: 'http://example.org' })
    expect(await outcome(foreign)).not.toBe('connected')
    const own = connect(url(), auth, { origin: url() })
    expect(await outcome(own)).toBe('connected')
    own.disconnect()
  })

  it('gives a returning volunteer the same name and a stranger’s token a new one', async () => {
    const first = await newTab()
    first.close()
    const again = await Tab.open(url(), first.token)
    expect(again.welcome.volunteer).toEqual(first.welcome.volunteer)
    expect(again.welcome.token).toBeUndefined()
    const stranger = await Tab.open(url(), 'x'.repeat(43))
    expect(stranger.id).not.toBe(first.id)
    again.close()
    stranger.close()
  })

  it.each([
    ['join', [{ backend: 'wasm' }]],
    ['join', [{ backend: 'wasm', tokensPerSecond: 1, device: '', more: 1 }]],
    ['join', [{ backend: 'abacus', tokensPerSecond: 1, device: '' }]],
    ['join', [{ backend: 'wasm', tokensPerSecond: -1, device: '' }]],
    ['join', [{ backend: 'wasm', tokensPerSecond: 1, device: 'x'.repeat(60_000) }]],
    ['lease', []],
    ['lease', [null]],
    ['lease', [{ run: '../../etc', after: null, tokensPerSecond: 1 }]],
    ['lease', [{ run: 'x'.repeat(12), round: 1.5 }]],
    ['release', [{ lease: ['an array'] }]],
    ['state', [{ state: 'dancing' }]],
    ['state', ['training', 'twice']],
  ])('answers a malformed %s with bad-request: %#', async (event, message) => {
    const tab = await newTab()
    expect(await tab.ask(event, ...message)).toEqual(refusal('bad-request'))
    expect(await tab.ask('leave')).toEqual({ ok: true })
  })

  it('survives messages that want no answer and events that do not exist', async () => {
    const tab = await newTab()
    for (const event of ['join', 'leave', 'lease', 'release', 'state', 'constructor', 'made-up']) {
      tab.socket.emit(event)
      tab.socket.emit(event, null)
      tab.socket.emit(event, { deep: [[[{}]]] }, new Uint8Array(10))
    }
    expect(await tab.ask('leave')).toEqual({ ok: true })
  })

  it('that talks too much is told to slow down, and others are not', async () => {
    const [loud, other] = await pair()
    const many = Array.from({ length: LIMITS.volunteerMessages.points + 5 }, () => loud.ask('leave'))
    const answers = await Promise.all(many)
    expect(answers[0]).toEqual({ ok: true })
    expect(answers.at(-1)).toEqual(refusal('rate-limited'))
    expect(await other.ask('leave')).toEqual({ ok: true })
  })

  it('that sends too much at once is closed, and others are not', async () => {
    const [big, other] = await pair()
    const closed = new Promise((resolve) => big.socket.on('disconnect', resolve))
    big.socket.emit('state', { state: 'x'.repeat(LIMITS.socketMessageBytes) })
    await closed
    expect(await other.ask('leave')).toEqual({ ok: true })
    expect((await call(url() + ROUTES.health)).status).toBe(200)
  })

  it('that is lost leaves its volunteer the lease until it returns, and another if it asks anew (L2, L5)', async () => {
    const [a] = await pair()
    const lease = await a.lease()
    a.close()
    await until(() => machine().leases.get(lease.id)?.orphanedAt != null, 'the loss to be seen')
    const again = await Tab.open(url(), a.token)
    tabs.push(again)
    const join = { backend: 'wasm', tokensPerSecond: 1, device: '' }
    expect(await again.ask('join', join)).toEqual({ leases: [lease.id] })
    expect(machine().leases.get(lease.id)?.orphanedAt).toBeNull()
    const another = await again.lease()
    expect(another.id).not.toBe(lease.id)
    expect([...machine().leases.byId.keys()]).toEqual([another.id])
    await again.ask('release', { lease: another.id })
    expect(await again.ask('join', join)).toEqual({ leases: [] })
    expect((await again.send(another, good(1))).body).toEqual(rejected('lapsed'))
  })
})

describe('the HTTP side', () => {
  it.each([ROUTES.health, ROUTES.ready])('answers %s', async (path) => {
    expect((await call(url() + path)).body).toEqual({ ok: true })
  })

  it.each(['/', '/admin', ROUTES.run])('isolates %s from other origins', async (path) => {
    const { headers, status } = await call(url() + path)
    expect(status).toBe(200)
    expect(headers.get('cross-origin-opener-policy')).toBe('same-origin')
    expect(headers.get('cross-origin-embedder-policy')).toBe('require-corp')
    expect(headers.get('content-security-policy')).toContain("default-src 'self'")
    expect(headers.get('content-security-policy')).not.toContain('unsafe-inline')
    expect(headers.get('x-content-type-options')).toBe('nosniff')
  })

  it('has pages asked for again each time and hashed assets never', async () => {
    const page = await call(`${url()}/`)
    expect(page.headers.get('cache-control')).toBe('no-cache')
    const asset = String(page.body).match(/assets\/[\w.-]+\.js/)?.[0]
    const { headers, status } = await call(`${url()}/${asset}`)
    expect([status, headers.get('cache-control')]).toEqual([200, 'public, max-age=31536000, immutable'])
  })

  it.each(['/nothing', '/api/nothing', '/../package.json', '/%2e%2e/package.json'])(
    'answers %s, which is not there, in JSON',
    async (path) => {
      const { status, body } = await call(url() + path)
      expect([404, 403, 400]).toContain(status)
      expect(body).toMatchObject({ error: { code: expect.any(String) } })
    },
  )

  it('refuses a body that is no JSON, too large or of another kind', async () => {
    const path = url() + ROUTES.adminLogin
    const json = { 'content-type': 'application/json' }
    const broken = await call(path, { method: 'POST', headers: json, body: '{"pass' })
    expect([broken.status, broken.body]).toEqual([400, refusal('bad-request')])
    const large = await post(path, { password: 'x'.repeat(LIMITS.jsonBytes) })
    expect([large.status, large.body]).toEqual([413, refusal('too-large')])
    const odd = await call(path, { method: 'POST', headers: { 'content-type': 'text/x' }, body: 'hi' })
    expect([odd.status, odd.body]).toEqual([415, refusal('bad-request')])
  })
})

describe('the operator', () => {
  let second: Coordinator
  let data: string
  const at = (path: string) => second.url + path
  const answerOf = async (answer: ReturnType<typeof post>) => [(await answer).status, (await answer).body]

  beforeAll(async () => {
    data = await mkdtemp(join(tmpdir(), 'potluck-'))
    second = await startOn(data)
  })
  afterAll(async () => {
    await second?.stop()
    await rm(data, { recursive: true, force: true })
  })

  it('sets the password once, through the link and no other', async () => {
    const token = second.setupToken
    const setUp = (body: unknown) => answerOf(post(at(ROUTES.adminSetup), body))
    expect((await call(at(ROUTES.adminSession))).body).toEqual({ configured: false, loggedIn: false })
    expect(await setUp({ token: 'guess', password: PASSWORD })).toEqual([403, refusal('setup-link')])
    expect(await setUp({ token, password: 'short' })).toEqual([400, refusal('bad-request')])
    const { cookie } = await logInFirst(second)
    expect((await call(at(ROUTES.adminSession), { headers: { cookie: cookie ?? '' } })).body).toEqual({
      configured: true,
      loggedIn: true,
    })
    expect(await setUp({ token, password: 'another password' })).toEqual([409, refusal('setup-done')])
    expect(second.setupToken).toBeNull()
  })

  it('logs in with the password alone, five times a minute, and out for good', async () => {
    const logIn = (password: string) => post(at(ROUTES.adminLogin), { password })
    const good = await logIn(PASSWORD)
    const cookie = good.headers.get('set-cookie') ?? ''
    expect(cookie).toMatch(/HttpOnly/i)
    expect(cookie).toMatch(/SameSite=Strict/i)
    const headers = { cookie: cookie.split(';')[0] ?? '' }
    expect((await call(at(ROUTES.adminView), { headers })).status).toBe(200)
    expect((await post(at(ROUTES.adminLogout), {}, headers)).status).toBe(200)
    expect((await call(at(ROUTES.adminView), { headers })).status).toBe(401)

    expect(await answerOf(logIn('wrong password'))).toEqual([401, refusal('wrong-password')])
    for (let i = 2; i < LIMITS.loginsPerMinute; i++) await logIn('wrong password')
    expect(await answerOf(logIn(PASSWORD))).toEqual([429, refusal('rate-limited')])
  })

  it.each([
    ['GET', ROUTES.adminView],
    ['GET', ROUTES.adminWeights],
    ['POST', ROUTES.adminRuns],
    ['POST', ROUTES.adminLogout],
    ['POST', ROUTES.adminRunAction('end')],
    ['POST', ROUTES.adminRemove('somebody')],
  ])('is asked to log in before %s %s', async (method, path) => {
    const headers = { cookie: 'potluck_session=made-up', 'content-type': 'application/json' }
    const answer = await call(at(path), { method, headers, ...(method === 'POST' && { body: '{}' }) })
    expect([answer.status, answer.body]).toEqual([401, refusal('unauthorized')])
  })

  it('is not spoken for by a foreign page', async () => {
    const headers = { ...operator, origin: 'http://example.org' }
    const answer = await post(url() + ROUTES.adminRunAction('end'), {}, headers)
    expect([answer.status, answer.body]).toEqual([403, refusal('forbidden')])
    expect(coordinator.runs.view()?.status).toBe('running')
  })

  it('sees the panel’s live view only when logged in', async () => {
    const stranger = connect(url(), {}, {}, '/admin')
    expect(await outcome(stranger)).toMatchObject({ data: { code: 'unauthorized' } })
    const panel = connect(url(), {}, operator, '/admin')
    const view = await new Promise((resolve) => panel.on('view', resolve))
    expect(view).toMatchObject({ run: { status: 'running' }, volunteers: expect.any(Array) })
    panel.disconnect()
    stranger.disconnect()
  })

  it('hears of every fault in a run’s configuration', async () => {
    const wrong = { ...smallRun, preset: 'pico', innerSteps: 0, quorum: 'two', rounds: 1.5, colour: 'red' }
    const answer = await post(url() + ROUTES.adminRuns, wrong, operator)
    expect([answer.status, answer.body]).toEqual([400, refusal('bad-request')])
    const text = JSON.stringify(answer.body)
    for (const field of ['preset', 'innerSteps', 'quorum', 'rounds', 'colour']) expect(text).toContain(field)
    const quorum = await post(url() + ROUTES.adminRuns, { ...smallRun, quorum: 3 }, operator)
    expect(JSON.stringify(quorum.body)).toContain('quorum must not exceed replicas')
  })

  it('cannot have two runs at once, nor do what does not fit the run’s state', async () => {
    const act = (action: 'start' | 'resume') =>
      answerOf(post(url() + ROUTES.adminRunAction(action), {}, operator))
    const create = post(url() + ROUTES.adminRuns, smallRun, operator)
    expect(await answerOf(create)).toEqual([409, refusal('run-exists')])
    expect(await act('start')).toEqual([409, refusal('run-state')])
    expect(await act('resume')).toEqual([409, refusal('run-state')])
    const dance = await post(`${url()}/api/admin/run/dance`, {}, operator)
    expect([dance.status, dance.body]).toEqual([400, refusal('bad-request')])
  })

  it('pauses: no new lease, open ones still count (R8); and resumes', async () => {
    const act = (action: 'pause' | 'resume') => post(url() + ROUTES.adminRunAction(action), {}, operator)
    const [a, b] = await pair()
    const lease = await a.lease()
    expect((await act('pause')).status).toBe(200)
    expect(machine()).toMatchObject({ status: 'paused', deadlineAt: null })
    const request = { run: machine().run, after: null, tokensPerSecond: 1 }
    expect(await b.ask('lease', request)).toEqual({ wait: 'paused' })
    expect((await a.send(lease, good())).body.result).toBe('accepted')
    expect((await act('resume')).status).toBe(200)
    expect(machine().deadlineAt).toBeGreaterThan(Date.now())
    await clearTable()
  })

  it('calls who was refused to a place that comes free, and tells tabs only what has changed', async () => {
    const [a, b] = await pair()
    const c = await newTab()
    const [leaseA] = [await a.lease(), await b.lease()]
    const request = { run: machine().run, after: null, tokensPerSecond: 1 }
    expect(await c.ask('lease', request)).toEqual({ wait: 'round-full' })
    const called = new Promise((resolve) => c.socket.once('call', () => resolve('called')))
    const news = new Promise((resolve) => c.socket.once('news', resolve))
    await a.ask('release', { lease: leaseA.id })
    expect(await called).toBe('called')
    expect(await news).toHaveProperty('now')
    expect(await news).not.toHaveProperty('config')
    expect(await c.ask('lease', request)).toHaveProperty('lease')
    await clearTable()
  })

  it('removes a volunteer, who hears why and may not come back', async () => {
    const [guest] = await pair()
    const lease = await guest.lease()
    const told = new Promise((resolve) => guest.socket.on('removed', resolve))
    const path = url() + ROUTES.adminRemove(guest.id)
    expect((await post(path, { reason: '' }, operator)).status).toBe(400)
    expect((await post(path, { reason: 'spilled the soup' }, operator)).status).toBe(200)
    expect(await told).toEqual({ reason: 'spilled the soup' })
    await until(() => !guest.socket.connected, 'the socket to close')
    expect(machine().leases.get(lease.id)).toBeUndefined()
    const back = connect(url(), { protocol: PROTOCOL_VERSION, token: guest.token })
    expect(await outcome(back)).toMatchObject({ data: { code: 'volunteer-removed' } })
    const answer = await guest.send(lease, good())
    expect([answer.status, answer.body]).toEqual([403, refusal('volunteer-removed')])
    await clearTable()
  })

  it('downloads the merged weights as safetensors', async () => {
    const response = await fetch(url() + ROUTES.adminWeights, { headers: operator })
    const bytes = new Uint8Array(await response.arrayBuffer())
    const header = Number(new DataView(bytes.buffer).getBigUint64(0, true))
    expect(sha256(bytes.slice(8 + header))).toBe(base().weights)
  })
})

// Last: these stop the shared coordinator and end its run.
describe('a restart', () => {
  it('loses nothing: round, contribution, lease and velocity are what they were (R10)', async () => {
    const [a, b] = await pair()
    const [leaseA, leaseB] = [await a.lease(), await b.lease()]
    const bytes = good(1)
    await a.send(leaseA, bytes)
    const before = machine()
    await coordinator.stop()
    coordinator = await startOn(folder)
    expect(machine()).toMatchObject({ round: before.round, fragments: before.fragments })
    expect(machine().accepted).toEqual(before.accepted)
    expect(machine().pool).toEqual(before.pool)

    const [a2, b2] = [await Tab.joined(url(), a.token), await Tab.joined(url(), b.token)]
    tabs = [a2, b2]
    expect((await a2.send(leaseA, bytes)).body).toMatchObject({ result: 'accepted', repeated: true })
    expect(accepted()).toBe(1)
    expect(machine().leases.get(leaseB.id)?.orphanedAt).toBeNull()
    expect((await b2.send(leaseB, good(2))).body.result).toBe('accepted')
    await until(() => machine().round === before.round + 1, 'the next round')
    expect(coordinator.runs.view()?.history.at(-1)).toMatchObject({ replicas: 2, tokens: 256 })
    await clearTable()
  })

  it('logs nobody out, and an ended run stays ended (R9)', async () => {
    expect((await post(url() + ROUTES.adminRunAction('end'), {}, operator)).status).toBe(200)
    const tab = await newTab()
    const request = { run: machine().run, after: null, tokensPerSecond: 1 }
    expect(await tab.ask('lease', request)).toEqual({ wait: 'ended' })
    tab.close()
    await coordinator.stop()
    coordinator = await startOn(folder)
    expect(coordinator.runs.view()?.status).toBe('ended')
  })
})
