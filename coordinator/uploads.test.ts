/** Uploads as bad lines and strangers make them: a real coordinator, raw sockets, a real folder. Rules: store/RULES.md. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { connect as connectTcp, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { CODECS } from '../shared/codec/codec.ts'
import { ROUTES } from '../shared/protocol/admin.ts'
import { LIMITS } from '../shared/protocol/limits.ts'
import type { Lease } from '../shared/protocol/run.ts'
import type { Coordinator } from './coordinator.ts'
import {
  type Answer,
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
let tabs: Tab[] = []
let lines: Line[] = []
let child: ChildProcess | undefined

const url = () => coordinator.url
const parameters = () => coordinator.runs.machine?.parameters ?? 0
const accepted = () => coordinator.runs.view()?.accepted
/** Far below what one step can reach. */
const good = (phase = 0) => contribution(parameters(), 1e-6, phase)
const refusal = (code: string) => ({ error: { code, message: expect.any(String) } })
const rejected = (reason: string) => expect.objectContaining({ result: 'rejected', reason })
/** The answer may come a moment before the file goes. */
const nothingKept = () =>
  until(async () => (await readdir(join(folder, 'vault', 'incoming'))).length === 0, 'the parts to go')

/** A volunteer, their lease and their contribution. */
interface Guest {
  readonly tab: Tab
  readonly lease: Lease
  readonly bytes: Uint8Array<ArrayBuffer>
}

async function newTab(token?: string): Promise<Tab> {
  const tab = await Tab.joined(url(), token)
  tabs.push(tab)
  return tab
}

/** The round opens for two. */
async function guest(phase = 0): Promise<Guest> {
  const [tab] = [await newTab(), await newTab()]
  return { tab, lease: await tab.lease(), bytes: good(phase) }
}

const pathOf = ({ lease, bytes }: Guest, offset = 0, name = sha256(bytes)) =>
  `${ROUTES.contribution(lease.id)}?sha256=${name}&steps=2&loss=6.5&offset=${offset}`

const authorization = ({ token }: Tab) => ({ authorization: `Bearer ${token}` })

const head = ({ tab, lease, bytes }: Guest, as = tab): Promise<Answer> =>
  call(`${url()}${ROUTES.contribution(lease.id)}?sha256=${sha256(bytes)}`, {
    method: 'HEAD',
    headers: authorization(as),
  })

const put = (it: Guest, offset: number, bytes = it.bytes.subarray(offset)): Promise<Answer> =>
  call(url() + pathOf(it, offset), {
    method: 'PUT',
    headers: { ...authorization(it.tab), 'content-type': 'application/octet-stream' },
    body: bytes,
  })

const offsetOf = (answer: Answer) => Number(answer.headers.get('upload-offset') ?? Number.NaN)
const halfOf = ({ bytes }: Guest) => Math.floor(bytes.length / 2)

/** An HTTP request by hand. */
class Line {
  #heard = ''
  readonly closed: Promise<unknown>

  private constructor(readonly socket: Socket) {
    socket.on('data', (chunk) => {
      this.#heard += chunk.toString('latin1')
    })
    socket.on('error', () => undefined) // a line that breaks is what the tests are about
    this.closed = new Promise((resolve) => socket.on('close', resolve))
  }

  static async open(path: string, headers: Record<string, string | number>, to = url()): Promise<Line> {
    const socket = connectTcp(Number(new URL(to).port), '127.0.0.1')
    await once(socket, 'connect')
    const all = { host: 'localhost', 'content-type': 'application/octet-stream', ...headers }
    const fields = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
    socket.write(`PUT ${path} HTTP/1.1\r\n${fields.join('')}\r\n`)
    const line = new Line(socket)
    lines.push(line)
    return line
  }

  /** What came back so far. */
  get heard(): string {
    return this.#heard
  }

  /** Status line and headers of the answer. */
  async answer(): Promise<string> {
    await until(() => this.#heard.includes('\r\n\r\n'), 'an answer')
    return this.#heard
  }
}

/** Sends so many bytes from `offset` on and leaves the line open; resolves when the disk has them. */
async function halfSent(it: Guest, offset: number, end: number, to = url()): Promise<Line> {
  const length = it.bytes.length - offset
  const line = await Line.open(pathOf(it, offset), { ...authorization(it.tab), 'content-length': length }, to)
  line.socket.write(it.bytes.subarray(offset, end))
  await until(async () => (await partBytes(it)) === end, `${end} bytes on the disk`)
  return line
}

async function partBytes({ lease, bytes }: Guest): Promise<number> {
  const path = join(folder, 'vault', 'incoming', `${lease.id}.${sha256(bytes)}.part`)
  return stat(path).then(
    ({ size }) => size,
    () => -1,
  )
}

async function stored({ bytes }: Guest): Promise<Buffer> {
  const name = sha256(bytes)
  return readFile(join(folder, 'vault', name.slice(0, 2), name))
}

/** Leaves no open lease and no half-full round to the next test. */
async function clearTable(): Promise<void> {
  for (const line of lines) line.socket.destroy()
  lines = []
  await until(() => coordinator.runs.view()?.phase !== 'merging', 'the merge')
  for (const tab of tabs) if (tab.socket.connected) await tab.ask('leave')
  for (const tab of tabs) tab.close()
  tabs = []
  if (accepted() === 0) return
  const tab = await newTab()
  await tab.send(await tab.lease(), CODECS.f16.encode(new Float32Array(parameters())))
  await clearTable()
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'potluck-uploads-'))
  coordinator = await startOn(folder)
  const operator = await logInFirst(coordinator)
  await post(url() + ROUTES.adminRuns, smallRun, operator)
  await until(() => coordinator.runs.view()?.status === 'ready', 'the prepared run')
  await post(url() + ROUTES.adminRunAction('start'), {}, operator)
})
afterEach(clearTable)
afterAll(async () => {
  child?.kill('SIGKILL')
  await coordinator?.stop()
  await rm(folder, { recursive: true, force: true })
})

describe('an upload over a bad line', () => {
  it('goes on from where HEAD says, as often as the line breaks (U1)', async () => {
    const it = await guest()
    expect(offsetOf(await head(it))).toBe(0)
    const breaks = [0, 1, 1_000, halfOf(it), it.bytes.length - 1]
    for (const [n, end] of breaks.slice(1).entries()) {
      const line = await halfSent(it, breaks[n] as number, end) // one break before each end
      line.socket.destroy()
      const asked = await head(it)
      expect([asked.status, offsetOf(asked), asked.headers.get('upload-length')]).toEqual([
        200,
        end,
        String(it.bytes.length),
      ])
    }
    expect((await put(it, it.bytes.length - 1)).body).toMatchObject({ result: 'accepted', repeated: false })
    expect(accepted()).toBe(1)
    expect(await stored(it)).toEqual(Buffer.from(it.bytes))
    await nothingKept()
  })

  it('is never taken back: an offset that is too small passes over what came (U1)', async () => {
    const it = await guest()
    ;(await halfSent(it, 0, halfOf(it))).socket.destroy()
    const line = await Line.open(pathOf(it), {
      ...authorization(it.tab),
      'content-length': it.bytes.length,
    })
    line.socket.end(it.bytes.subarray(0, 100))
    await line.closed
    expect(offsetOf(await head(it))).toBe(halfOf(it))
    expect((await put(it, 100)).body).toMatchObject({ result: 'accepted' })
    expect(await stored(it)).toEqual(Buffer.from(it.bytes))
  })

  it('that goes on too far ahead is told how far it came (U1)', async () => {
    const it = await guest()
    ;(await halfSent(it, 0, 500)).socket.destroy()
    const answer = await put(it, 501)
    expect([answer.status, answer.body, offsetOf(answer)]).toEqual([409, refusal('upload-offset'), 500])
    expect((await put(it, 500)).body).toMatchObject({ result: 'accepted' })
  })

  it('that promises another length is refused, and what came before stays (U2)', async () => {
    const it = await guest()
    ;(await halfSent(it, 0, 500)).socket.destroy()
    expect((await put(it, 500, it.bytes.subarray(501))).body).toEqual(rejected('wrong-length'))
    expect(offsetOf(await head(it))).toBe(500)
  })

  it('that does not say its length and goes on for ever is stopped at the lease’s bytes (U2)', async () => {
    const it = await guest()
    const line = await Line.open(pathOf(it), { ...authorization(it.tab), 'transfer-encoding': 'chunked' })
    const more = [it.bytes, new Uint8Array(1_000_000)]
    for (const chunk of more) {
      line.socket.write(`${chunk.length.toString(16)}\r\n`)
      line.socket.write(chunk)
      line.socket.write('\r\n')
    }
    expect(await line.answer()).toMatch(/^HTTP\/1.1 422 /)
    await nothingKept()
    expect((await put(it, 0)).body).toMatchObject({ result: 'accepted' })
  })

  it('whose pieces do not hash to their name starts over, and its lease stays open (U3)', async () => {
    const it = await guest()
    const name = sha256(it.bytes)
    const wrong = { ...it, bytes: it.bytes.slice() }
    wrong.bytes[7_000] = (wrong.bytes[7_000] as number) ^ 1
    const length = { ...authorization(it.tab), 'content-length': wrong.bytes.length }
    const line = await Line.open(pathOf(it, 0, name), length)
    line.socket.write(wrong.bytes.subarray(0, 8_000))
    await until(async () => (await partBytes(it)) === 8_000, 'the damaged bytes')
    line.socket.destroy()
    expect((await put(it, 8_000)).body).toEqual(rejected('hash-mismatch'))
    expect(offsetOf(await head(it))).toBe(0)
    expect((await put(it, 0)).body).toMatchObject({ result: 'accepted' })
  })

  it('counts once; its receipt is there for whoever asks again, with an empty body (U6)', async () => {
    const it = await guest()
    ;(await halfSent(it, 0, halfOf(it))).socket.destroy()
    await put(it, halfOf(it))
    const asked = await head(it)
    expect([asked.status, asked.headers.get('upload-offset')]).toEqual([200, null])
    const again = await put(it, it.bytes.length)
    expect([again.status, again.body]).toMatchObject([200, { result: 'accepted', repeated: true }])
    expect(accepted()).toBe(1)
  })

  it('whose older line nobody knows to be dead is taken over by a newer one (U7)', async () => {
    const it = await guest()
    const silent = await halfSent(it, 0, halfOf(it))
    expect((await put(it, halfOf(it))).body).toMatchObject({ result: 'accepted' })
    expect(await silent.answer()).toMatch(/^HTTP\/1.1 200 /)
    expect(accepted()).toBe(1)
  })

  it('goes when its lease does (U5)', async () => {
    const it = await guest()
    const line = await halfSent(it, 0, halfOf(it))
    await it.tab.ask('release', { lease: it.lease.id })
    expect(await line.answer()).toMatch(/^HTTP\/1.1 409 [\s\S]*lapsed/)
    await nothingKept()
  })
})

describe('a stranger', () => {
  it('cannot hold more than a few uploads of one lease open (U7)', async () => {
    const it = await guest()
    const fields = { ...authorization(it.tab), 'content-length': it.bytes.length }
    const open: Line[] = []
    for (let n = 0; n < 12; n++) {
      const line = await Line.open(pathOf(it), fields)
      line.socket.write(it.bytes.subarray(0, 10 + n))
      await until(async () => (await partBytes(it)) === 10 + n, 'this line’s bytes')
      open.push(line)
    }
    const given = open.slice(0, -LIMITS.uploadsPerLease)
    for (const line of given) expect(await line.answer()).toMatch(/^HTTP\/1.1 409 [\s\S]*upload-cut/)
    expect(open.slice(-LIMITS.uploadsPerLease).map(({ heard }) => heard)).toEqual(['', '', '', ''])
  })

  it('is not read to the end of a body that was refused (U9)', async () => {
    const it = await guest()
    const length = 256 * 1024 * 1024
    const line = await Line.open(pathOf(it), { 'content-length': length })
    let sent = 0
    const chunk = new Uint8Array(1024 * 1024)
    const pump = () => {
      while (sent < length && !line.socket.destroyed) {
        sent += chunk.length
        if (!line.socket.write(chunk)) return
      }
    }
    line.socket.on('drain', pump)
    pump()
    await line.closed
    expect(sent).toBeLessThan(length)
  })

  it('hears nothing of another’s upload and cannot go on with it (U10)', async () => {
    const it = await guest()
    ;(await halfSent(it, 0, halfOf(it))).socket.destroy()
    const other = await newTab()
    const asked = await head(it, other)
    expect([asked.status, asked.headers.get('upload-offset')]).toEqual([403, null])
    expect((await put({ ...it, tab: other }, halfOf(it))).body).toEqual(rejected('not-your-lease'))
    expect(offsetOf(await head(it))).toBe(halfOf(it))
  })

  it('gets no new budget for each token that they make up (U10)', async () => {
    const statuses: number[] = []
    for (let n = 0; n <= LIMITS.uploadsPerMinute; n++) {
      const made = { token: `made-up-token-number-${n}`, bytes: new Uint8Array(1) }
      statuses.push((await send(url(), 'nosuchlease', made)).status)
    }
    expect(statuses.at(0)).toBe(401)
    expect(statuses.at(-1)).toBe(429)
  })
})

describe('a coordinator that goes away in the middle of an upload', () => {
  /** Takes the same volunteer's seat again, whose lease waits for them. */
  async function back(it: Guest): Promise<Guest> {
    const tab = await newTab(it.tab.token)
    return { ...it, tab }
  }

  it('says how far it came when it is stopped, and goes on from there when started again (U5, U12)', async () => {
    const before = await guest()
    const line = await halfSent(before, 0, halfOf(before))
    await coordinator.stop()
    const answer = await line.answer()
    expect(answer).toMatch(/^HTTP\/1.1 503 [\s\S]*upload-cut/)
    expect(answer).toMatch(new RegExp(`upload-offset: ${halfOf(before)}\r\n`))
    coordinator = await startOn(folder)
    const after = await back(before)
    expect(offsetOf(await head(after))).toBe(halfOf(after))
    expect((await put(after, halfOf(after))).body).toMatchObject({ result: 'accepted', repeated: false })
    expect(await stored(after)).toEqual(Buffer.from(after.bytes))
    expect(accepted()).toBe(1)
  })

  it('may be killed: what it had written down stays (U5)', async () => {
    const before = await guest()
    await coordinator.stop()
    const there = await startProcess(folder)
    const tab = await Tab.joined(there, before.tab.token)
    const cut = Math.floor(before.bytes.length / 3)
    const line = await halfSent(before, 0, cut, there)
    if (child) await Promise.all([once(child, 'exit'), line.closed, child.kill('SIGKILL')])
    tab.close()
    coordinator = await startOn(folder)
    const after = await back(before)
    expect(offsetOf(await head(after))).toBe(cut)
    expect((await put(after, cut)).body).toMatchObject({ result: 'accepted', repeated: false })
    expect(await stored(after)).toEqual(Buffer.from(after.bytes))
    expect(accepted()).toBe(1)
  })

  it('counts what had come whole but was not counted yet, without a byte more (U5, U6)', async () => {
    const before = await guest()
    await coordinator.stop()
    const name = `${before.lease.id}.${sha256(before.bytes)}.part`
    await writeFile(join(folder, 'vault', 'incoming', name), before.bytes)
    coordinator = await startOn(folder)
    const after = await back(before)
    expect(offsetOf(await head(after))).toBe(after.bytes.length)
    const answer = await put(after, after.bytes.length)
    expect(answer.body).toMatchObject({ result: 'accepted', repeated: false })
    expect(accepted()).toBe(1)
  })
})

/** `npm start` on this folder; resolves with its address. */
async function startProcess(data: string): Promise<string> {
  const main = fileURLToPath(new URL('./main.ts', import.meta.url))
  const environment = { PATH: process.env.PATH, POTLUCK_DATA: data, POTLUCK_PORT: '0' }
  child = spawn(process.execPath, ['--import', 'tsx', main], {
    env: environment,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let said = ''
  child.stdout?.on('data', (chunk) => {
    said += String(chunk)
  })
  await until(() => said.includes('Volunteers: '), 'the coordinator’s address')
  return /Volunteers: (\S+?)\/?\s/.exec(said)?.[1] ?? ''
}
