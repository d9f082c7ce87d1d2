/** For tests of the whole coordinator: starts a real one on a free port, and speaks to it as tabs and the panel do. */
import { createHash } from 'node:crypto'
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { io, type Socket } from 'socket.io-client'
import { build } from 'vite'
import { CODECS } from '../shared/codec/codec.ts'
import { ROUTES } from '../shared/protocol/admin.ts'
import { PROTOCOL_VERSION, type Welcome } from '../shared/protocol/messages.ts'
import type { Lease, Receipt, RunConfig } from '../shared/protocol/run.ts'
import { USUAL_TASKS } from '../shared/protocol/tasks.ts'
import { readConfig } from './config.ts'
import { type Coordinator, startCoordinator } from './coordinator.ts'
import { manifestFor } from './corpus/manifestFor.ts'
import { openFileBlobStore } from './store/fileBlobs.ts'
import { openSqliteStore } from './store/sqlite.ts'

export const PASSWORD = 'correct horse battery'
export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** A run of two replicas that closes a round only when both have contributed. */
export const smallRun: RunConfig = {
  name: 'Test',
  preset: 'nano',
  corpus: null,
  innerSteps: 2,
  batchSize: 1,
  replicas: 2,
  quorum: 2,
  deadlineSeconds: 3_600,
  rounds: 1_000,
  innerLearningRate: 4e-3,
  outerLearningRate: 'auto',
  outerMomentum: 0.9,
  seed: 'test',
  fragments: 1,
  codec: 'f16',
  downlink: 'f32',
  errorFeedback: 1,
  overlap: false,
  strict: true,
  groupSize: 1,
  auditRate: 0,
  evaluation: 'auto',
  checkpoints: { last: 2, every: 0, best: 0 },
  tasks: USUAL_TASKS,
}

/** Builds the pages when nobody has: the coordinator does not start without them. */
async function ensurePages(): Promise<void> {
  const page = fileURLToPath(new URL('../dist/index.html', import.meta.url))
  const built = await access(page).then(
    () => true,
    () => false,
  )
  if (!built) await build({ logLevel: 'error', root: fileURLToPath(new URL('..', import.meta.url)) })
}

export async function startOn(
  folder: string,
  environment: Record<string, string> = {},
): Promise<Coordinator> {
  await ensurePages()
  const usual = {
    ...{ POTLUCK_DATA: folder, POTLUCK_PORT: '0', POTLUCK_LOG: 'silent' },
    POTLUCK_HELD_OUT_TOKENS: '640', // ten sequences of `nano`: enough for a loss that nobody compares
  }
  return startCoordinator(readConfig({ ...usual, ...environment }))
}

/**
 * Fills an empty folder with what an operator leaves there who has set a password and had a run like `smallRun`, but no
 * run: copies of it start quickly. Answers the headers of that operator, logged in.
 */
export async function furnish(folder: string): Promise<Record<string, string>> {
  const coordinator = await startOn(folder)
  const operator = await logInFirst(coordinator)
  await coordinator.stop()
  const blobDirectory = join(folder, 'blobs')
  const [blobs, store] = [
    await openFileBlobStore(blobDirectory),
    await openSqliteStore(join(folder, 'potluck.sqlite')),
  ]
  await manifestFor(smallRun, { store, blobs, blobDirectory, signal: new AbortController().signal })
  await store.close()
  return operator
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: unknown
}

export async function call(url: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(url, init)
  const text = await response.text()
  const json = response.headers.get('content-type')?.includes('json')
  return { status: response.status, headers: response.headers, body: json && text ? JSON.parse(text) : text }
}

export const post = (url: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> =>
  call(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })

/** Sets the password through the one-use link; answers the headers of a logged-in operator. */
export async function logInFirst({
  url,
  setupToken,
}: Pick<Coordinator, 'url' | 'setupToken'>): Promise<Record<string, string>> {
  const { headers } = await post(url + ROUTES.adminSetup, { token: setupToken, password: PASSWORD })
  return { cookie: headers.get('set-cookie')?.split(';')[0] ?? '' }
}

/** Polls until `test` holds. */
export async function until(test: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const end = Date.now() + 40_000
  while (!(await test())) {
    if (Date.now() > end) throw new Error(`Waited in vain for ${what}.`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

export interface Sent {
  readonly token: string | null
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly sha256?: string
  readonly steps?: number
  readonly query?: string
}

/** PUT /contributions/<lease>, honest unless told otherwise. */
export function send(url: string, lease: string, sent: Sent): Promise<Answer & { body: Receipt }> {
  const query = sent.query ?? `sha256=${sent.sha256 ?? sha256(sent.bytes)}&steps=${sent.steps ?? 2}&loss=6.5`
  return call(`${url}${ROUTES.contribution(lease)}?${query}`, {
    method: 'PUT',
    headers: {
      'content-type': 'application/octet-stream',
      ...(sent.token !== null && { authorization: `Bearer ${sent.token}` }),
    },
    body: sent.bytes,
  }) as Promise<Answer & { body: Receipt }> // callers that are refused read it as an ErrorBody
}

/** A tab without an engine. */
export class Tab {
  private constructor(
    readonly url: string,
    readonly socket: Socket,
    readonly welcome: Welcome,
    readonly token: string,
  ) {}

  static async open(url: string, token?: string): Promise<Tab> {
    const socket = connect(url, { protocol: PROTOCOL_VERSION, ...(token !== undefined && { token }) })
    const welcome = await new Promise<Welcome>((resolve, reject) => {
      socket.on('welcome', resolve)
      socket.on('connect_error', reject)
    })
    return new Tab(url, socket, welcome, token ?? welcome.token ?? '')
  }

  static async joined(url: string, token?: string): Promise<Tab> {
    const tab = await Tab.open(url, token)
    await tab.ask('join', { backend: 'wasm', tokensPerSecond: 1_000, device: 'a test' })
    return tab
  }

  get id(): string {
    return this.welcome.volunteer.id
  }

  ask(event: string, ...message: unknown[]): Promise<unknown> {
    return this.socket.timeout(10_000).emitWithAck(event, ...message) as Promise<unknown>
  }

  /** Asks for work until there is some, as tabs do. */
  async lease(): Promise<Lease> {
    const run = this.welcome.run?.id
    let lease: Lease | undefined
    await until(async () => {
      const answer = (await this.ask('lease', { run, after: null, tokensPerSecond: 1_000 })) as {
        lease?: Lease
      }
      lease = answer.lease
      return lease !== undefined
    }, 'a lease')
    return lease as Lease // until only ends with one
  }

  send(lease: Lease, bytes: Uint8Array<ArrayBuffer>, more: Partial<Sent> = {}) {
    return send(this.url, lease.id, { token: this.token, bytes, ...more })
  }

  close(): void {
    this.socket.disconnect()
  }
}

export const connect = (
  url: string,
  auth: Record<string, unknown>,
  extraHeaders: Record<string, string> = {},
  namespace = '/volunteers',
): Socket =>
  io(url + namespace, {
    transports: ['websocket'],
    reconnection: false,
    forceNew: true,
    auth,
    extraHeaders,
  })

export const outcome = (socket: Socket): Promise<{ data?: { code: string } } | 'connected'> =>
  new Promise((resolve) => {
    socket.on('connect', () => resolve('connected'))
    socket.on('connect_error', (error) => resolve(error as { data?: { code: string } })) // as Socket.IO adds it
  })

/** An encoded pseudo-gradient whose values lie between -reach and reach. */
export function contribution(parameters: number, reach: number, phase = 0): Uint8Array<ArrayBuffer> {
  return CODECS.f16.encode(Float32Array.from({ length: parameters }, (_, i) => reach * Math.sin(i + phase)))
}
