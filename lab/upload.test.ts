/**
 * A tab's upload and a real coordinator, with a line between them that breaks where the test wants it to. The tab's
 * part is client/swarm/upload.ts as it is, but for XMLHttpRequest, which Node does not have.
 */
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { request } from 'node:http'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Outgoing, readOffset, type Transport } from '../client/swarm/transport.ts'
import { sendContribution } from '../client/swarm/upload.ts'
import type { Coordinator } from '../coordinator/coordinator.ts'
import {
  contribution,
  logInFirst,
  post,
  sha256,
  smallRun,
  startOn,
  Tab,
  until,
} from '../coordinator/testing.ts'
import { ROUTES } from '../shared/protocol/admin.ts'
import type { Lease } from '../shared/protocol/run.ts'

let folder: string
let coordinator: Coordinator
let line: BadLine
let tabs: Tab[] = []

/**
 * What a connection does: pass on so many bytes of a body and break once the disk has them, or pass on all and swallow
 * the answer.
 */
type Fate = { readonly after: number } | 'no answer' | 'good'

/** Between tabs and the coordinator; each new PUT meets the next fate, and then all is well. */
class BadLine {
  readonly fates: Fate[] = []
  readonly #server: Server

  constructor() {
    this.#server = createServer((tab) => {
      const there = connect(Number(new URL(coordinator.url).port), '127.0.0.1')
      const hangUp = () => {
        tab.destroy()
        there.destroy()
      }
      for (const end of [tab, there]) end.on('error', hangUp).on('close', hangUp)
      tab.once('data', (first: Buffer) => {
        const fate = first.toString('latin1').startsWith('PUT') ? this.fates.shift() : undefined
        this.#pass(tab, there, first, fate ?? 'good', hangUp)
      })
    })
  }

  #pass(tab: Socket, there: Socket, first: Buffer, fate: Fate, hangUp: () => void): void {
    const head = first.indexOf('\r\n\r\n') + 4
    let left = typeof fate === 'object' ? head + fate.after : Number.POSITIVE_INFINITY
    const pass = (chunk: Buffer) => {
      if (left <= 0) return
      there.write(chunk.subarray(0, left))
      left -= chunk.length
      if (left <= 0 && typeof fate === 'object') {
        void partGrown(first, fate.after, () => tab.destroyed).then(hangUp)
      }
    }
    pass(first)
    tab.on('data', pass)
    there.on('data', (chunk) => {
      if (fate === 'good') tab.write(chunk)
      else hangUp()
    })
  }

  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}` // it listens on TCP
  }

  close(): void {
    this.#server.close()
  }
}

/** Resolves when so many bytes more than it began with have come of the upload whose request this is, or it ended. */
async function partGrown(head: Buffer, more: number, ended: () => boolean): Promise<void> {
  const [, lease, offset] = /contributions\/([\w-]+)\?\S*offset=(\d+)/.exec(head.toString('latin1')) ?? []
  const grown = async () => (await partBytes(lease ?? '')) === Number(offset) + more
  await until(async () => ended() || (await grown()), `${more} bytes more`)
}

async function partBytes(lease: string): Promise<number> {
  const incoming = join(folder, 'vault', 'incoming')
  const part = (await readdir(incoming)).find((name) => name.startsWith(`${lease}.`))
  const found = part === undefined ? null : await stat(join(incoming, part)).catch(() => null)
  return found?.size ?? 0
}

/** What was asked, in order: `PUT 0`, `HEAD`, … */
const asked: string[] = []

const byNode: Transport = ({ method, url, token, body, signal, onSent }) =>
  new Promise((resolve, reject) => {
    signal.throwIfAborted()
    const offset = new URLSearchParams(url.split('?')[1]).get('offset')
    asked.push(offset === null ? method : `${method} ${offset}`)
    const nothing = { status: 0, offset: null, body: null }
    const headers = {
      'content-type': 'application/octet-stream',
      'content-length': body?.length ?? 0,
      authorization: `Bearer ${token}`,
      connection: 'keep-alive', // as browsers do: an answer may come before the body is at its end
    }
    const sending = request(line.url + url, { method, agent: false, headers, signal })
    sending.on('error', () => (signal.aborted ? reject(signal.reason) : resolve(nothing)))
    sending.on('response', async (response) => {
      const read = await json(response).catch(() => null)
      const header = String(response.headers['upload-offset'] ?? '')
      resolve({ status: response.statusCode ?? 0, offset: readOffset(header), body: read })
    })
    void write(body, sending, onSent)
  })

const PIECE = 16 * 1024

async function write(body: Outgoing['body'], to: NodeJS.WritableStream, onSent: Outgoing['onSent']) {
  const all = body ?? new Uint8Array()
  for (let sent = 0; sent < all.length; ) {
    const piece = all.subarray(sent, sent + PIECE)
    const gone = await new Promise<boolean>((resolve) => to.write(piece, (error) => resolve(!error)))
    if (!gone) return
    sent += piece.length
    onSent(sent)
  }
  to.end()
}

interface Guest {
  readonly tab: Tab
  readonly lease: Lease
  readonly bytes: Uint8Array<ArrayBuffer>
}

async function newTab(token?: string): Promise<Tab> {
  const tab = await Tab.joined(coordinator.url, token)
  tabs.push(tab)
  return tab
}

async function guest(phase: number): Promise<Guest> {
  const [tab] = [await newTab(), await newTab()]
  const parameters = coordinator.runs.machine?.parameters ?? 0
  return { tab, lease: await tab.lease(), bytes: contribution(parameters, 1e-6, phase) }
}

/** What the page would have shown and counted. */
interface Seen {
  readonly shown: number[]
  network: number
}

const seenNothing = (): Seen => ({ shown: [], network: 0 })

function sendBy(
  { tab, lease, bytes }: Guest,
  seen = seenNothing(),
  { signal = new AbortController().signal, transport = byNode, token = tab.token } = {},
) {
  const onNetwork = (more: number) => {
    seen.network += more
  }
  const told = { lease: lease.id, bytes, steps: lease.steps, loss: 6.5, onNetwork }
  return sendContribution(told, token, signal, (sent) => seen.shown.push(sent), transport)
}

const accepted = (repeated: boolean) => ({ result: 'accepted', repeated })

async function storedBytes(bytes: Uint8Array): Promise<Buffer> {
  const name = sha256(bytes)
  return readFile(join(folder, 'vault', name.slice(0, 2), name))
}

/** Damages so many bodies on their way. */
function damaging(bodies: number): Transport {
  let left = bodies
  return (outgoing) => {
    if (outgoing.method !== 'PUT' || left-- <= 0) return byNode(outgoing)
    const body = Uint8Array.from(outgoing.body ?? [])
    body[100] = (body[100] ?? 0) ^ 1
    return byNode({ ...outgoing, body })
  }
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'potluck-uploads-'))
  coordinator = await startOn(folder)
  const operator = await logInFirst(coordinator)
  await post(
    coordinator.url + ROUTES.adminRuns,
    { ...smallRun, replicas: 200, quorum: 2, strict: false },
    operator,
  )
  await until(() => coordinator.runs.view()?.status === 'ready', 'the prepared run')
  await post(coordinator.url + ROUTES.adminRunAction('start'), {}, operator)
  line = new BadLine()
  await line.listen()
})
beforeEach(() => {
  asked.length = 0
  line.fates.length = 0
})
afterEach(() => {
  for (const tab of tabs) tab.close()
  tabs = []
})
afterAll(async () => {
  line?.close()
  await coordinator?.stop()
  await rm(folder, { recursive: true, force: true })
})

describe('a tab’s upload', () => {
  it('over a good line is one request', async () => {
    const it = await guest(1)
    const seen = seenNothing()
    expect(await sendBy(it, seen)).toMatchObject(accepted(false))
    expect(asked).toEqual(['PUT 0'])
    expect([seen.network, seen.shown.at(0), seen.shown.at(-1)]).toEqual([it.bytes.length, 0, it.bytes.length])
  })

  it('that breaks again and again sends only what has not come (U13)', async () => {
    const it = await guest(2)
    const seen = seenNothing()
    line.fates.push({ after: 20_000 }, { after: 400 }, { after: 50_000 })
    expect(await sendBy(it, seen)).toMatchObject(accepted(false))
    const steps = ['PUT 0', 'HEAD', 'PUT 20000', 'HEAD', 'PUT 20400', 'HEAD', 'PUT 70400']
    expect(asked).toEqual(steps)
    expect(await storedBytes(it.bytes)).toEqual(Buffer.from(it.bytes))
    expect(seen.shown.at(-1)).toBe(it.bytes.length)
    expect(Math.max(...seen.shown)).toBe(it.bytes.length)
    expect(seen.shown).toEqual(expect.arrayContaining([0, 20_000, 20_400, 70_400]))
    // What was on its way when the line broke went out twice, but never the whole again.
    expect(seen.network).toBeGreaterThanOrEqual(it.bytes.length)
  })

  it('whose receipt was lost asks for it with an empty body (U13)', async () => {
    const it = await guest(3)
    const seen = seenNothing()
    line.fates.push('no answer')
    expect(await sendBy(it, seen)).toMatchObject(accepted(true))
    expect(asked).toEqual(['PUT 0', 'HEAD', `PUT ${it.bytes.length}`])
    expect(seen.network).toBe(it.bytes.length)
  })

  it('whose lease ended while the line was broken hears so (U13)', async () => {
    const it = await guest(4)
    line.fates.push({ after: 20_000 })
    const sending = sendBy(it)
    await until(() => line.fates.length === 0, 'the broken line')
    await it.tab.ask('release', { lease: it.lease.id })
    expect(await sending).toMatchObject({ result: 'rejected', reason: 'lapsed' })
    expect(asked).toEqual(['PUT 0', 'HEAD', `PUT ${it.bytes.length}`])
  })

  it('damaged on the way starts over (U14)', async () => {
    const it = await guest(5)
    expect(await sendBy(it, seenNothing(), { transport: damaging(2) })).toMatchObject(accepted(false))
    expect(asked).toEqual(['PUT 0', 'PUT 0', 'PUT 0'])
  })

  it('damaged three times gives up (U14)', async () => {
    const it = await guest(6)
    const receipt = await sendBy(it, seenNothing(), { transport: damaging(9) })
    expect(receipt).toMatchObject({ result: 'rejected', reason: 'hash-mismatch' })
    expect(asked).toHaveLength(3)
  })

  it('of somebody whom the coordinator does not know ends at once (U15)', async () => {
    const it = await guest(7)
    await expect(sendBy(it, seenNothing(), { token: 'x'.repeat(43) })).rejects.toThrow('status 401')
    expect(asked).toEqual(['PUT 0'])
  })

  it('that is aborted ends at once, while sending or waiting, with the reason (U15)', async () => {
    const it = await guest(8)
    const abort = new AbortController()
    const stops: Transport = (outgoing) =>
      byNode({
        ...outgoing,
        onSent(sent) {
          if (sent > 50_000) abort.abort(new Error('stopped while sending'))
        },
      })
    const sending = sendBy(it, seenNothing(), { signal: abort.signal, transport: stops })
    await expect(sending).rejects.toThrow('stopped while sending')

    const later = new AbortController()
    const waiting = sendBy(it, seenNothing(), {
      signal: later.signal,
      transport: async () => {
        setTimeout(() => later.abort(new Error('stopped while waiting')))
        return { status: 0, offset: null, body: null }
      },
    })
    await expect(waiting).rejects.toThrow('stopped while waiting')
    expect(asked).toEqual(['PUT 0'])
  })

  it('goes on with a coordinator that was stopped and started meanwhile (U5, U13)', async () => {
    const it = await guest(9)
    line.fates.push({ after: 30_000 })
    const sending = sendBy(it)
    await until(() => line.fates.length === 0, 'the first request')
    await until(async () => (await partBytes(it.lease.id)) === 30_000, 'what came before the break')
    await coordinator.stop()
    coordinator = await startOn(folder)
    await newTab(it.tab.token)
    expect(await sending).toMatchObject(accepted(false))
    expect([asked.at(0), asked.at(-1)]).toEqual(['PUT 0', 'PUT 30000'])
    expect(await storedBytes(it.bytes)).toEqual(Buffer.from(it.bytes))
  })
})
