/**
 * `npm run bench -- uploads [--uploads=64] [--megabytes=35] [--folder=PATH]`: that many contributions at once over
 * real HTTP into a real coordinator, which runs in a process of its own and measures itself (uploadsCoordinator.ts).
 * From the first byte to the last receipt, so each contribution is also flushed, checked and counted. This process is
 * all the volunteers, on the same machine. `disk` is how fast the same folder takes one file, alone and flushed.
 *
 * The run is written into the coordinator's folder beforehand, as if it had been prepared: its contributions have the
 * size of 35m's in int8, but nobody has to train a tokenizer and evaluate a model of that size for it.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, mkdtemp, open, rm } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { Socket } from 'socket.io-client'
import { z } from 'zod'
import { freshMachine } from '../../coordinator/rounds/state.ts'
import { openFileBlobStore } from '../../coordinator/store/fileBlobs.ts'
import { openSqliteStore } from '../../coordinator/store/sqlite.ts'
import { connect, logInFirst, post, until } from '../../coordinator/testing.ts'
import { CODECS } from '../../shared/codec/codec.ts'
import { PRESETS } from '../../shared/model/config.ts'
import { ROUTES } from '../../shared/protocol/admin.ts'
import { defaultRunConfig } from '../../shared/protocol/defaults.ts'
import { PROTOCOL_VERSION, type Welcome } from '../../shared/protocol/messages.ts'
import { type Lease, receiptSchema } from '../../shared/protocol/run.ts'
import type { Observed, Opened } from './uploadsCoordinator.ts'

interface Row {
  readonly uploads: number
  readonly megabytesEach: number
  readonly seconds: number
  readonly megabytesPerSecond: number
  readonly diskMegabytesPerSecond: number
  readonly rssBeforeMegabytes: number
  readonly rssPeakMegabytes: number
  readonly delayP50Ms: number
  readonly delayP99Ms: number
  readonly delayMaxMs: number
  /** Of the same process just before, with nothing to do: what other programs on this machine cost. */
  readonly idleDelayP99Ms: number
  /** Between two looks: the least that a delay can be. */
  readonly delayIntervalMs: number
  readonly coordinatorCpuSeconds: number
}

/** One upload, from its first byte to its receipt. */
interface Spread {
  readonly fastestSeconds: number
  readonly medianSeconds: number
  readonly slowestSeconds: number
}

const flagsSchema = z.strictObject({
  uploads: z.coerce.number().int().min(1).max(255).default(64),
  megabytes: z.coerce.number().positive().max(1_000).default(35),
  folder: z.string().default(tmpdir()),
})

const CODEC = 'int8'
const CHUNK_BYTES = 256 * 1024
const MEGABYTE = 1e6
const IDLE_MS = 2_000

export async function measureUploads(flags: string[]): Promise<{ rows: Row[]; uploads: Spread[] }> {
  const text = { type: 'string' } as const
  const { values } = parseArgs({ args: flags, options: { uploads: text, megabytes: text, folder: text } })
  const { uploads, megabytes, folder: parent } = flagsSchema.parse(values)
  const folder = await mkdtemp(join(parent, 'potluck-uploads-'))
  try {
    const parameters = parametersOf(megabytes * MEGABYTE)
    await writeRun(folder, parameters, uploads)
    const disk = await diskSpeed(folder, megabytes * MEGABYTE)
    const child = fork(fileURLToPath(new URL('./uploadsCoordinator.ts', import.meta.url)), [folder], {
      execArgv: ['--import', 'tsx'],
    })
    try {
      return await measure(child, { uploads, parameters, disk })
    } finally {
      child.send('stop')
      await once(child, 'exit')
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Whole blocks that come to about so many bytes. */
function parametersOf(bytes: number): number {
  const { blockSize, byteLength } = CODECS[CODEC]
  return Math.round(bytes / byteLength(blockSize)) * blockSize
}

/** One contribution more than will come, so that the round stays open and nothing is merged. */
async function writeRun(folder: string, parameters: number, uploads: number): Promise<void> {
  await mkdir(folder, { recursive: true })
  const blobs = await openFileBlobStore(join(folder, 'blobs'))
  const weights = await blobs.put(new TextEncoder().encode('Nobody reads these weights.'))
  const store = await openSqliteStore(join(folder, 'potluck.sqlite'))
  const everybody = { replicas: uploads + 1, quorum: uploads + 1 }
  const config = {
    ...defaultRunConfig('35m'),
    ...everybody,
    codec: CODEC,
    strict: true,
    deadlineSeconds: 86_400,
  } as const
  const { sequenceLength } = PRESETS[config.preset]
  const base = { parameters, weights, exact: null, velocity: null, largest: 0.04 }
  const prepared = { run: 'uploads-bench', config, sequenceLength, fragments: [base] }
  await store.createRun({ id: prepared.run, config, now: Date.now() })
  await store.prepareRun(prepared.run, freshMachine({ ...prepared, sequencesPerEpoch: 1e6 }), weights)
  const by = { weights: [weights], data: weights, examples: 1, by: 'coordinator', seconds: 0, at: 0 } as const
  await store.setHeldOut(prepared.run, 0, { ...by, nats: 10.4, tokens: 1, bytes: 5, sample: null })
  await store.close()
}

/** MB/s of one file that is written and flushed, as an upload is. */
async function diskSpeed(folder: string, bytes: number): Promise<number> {
  const path = join(folder, 'disk')
  const chunk = Buffer.alloc(1024 * 1024, 7)
  const start = performance.now()
  const file = await open(path, 'w')
  for (let written = 0; written < bytes; written += chunk.length) await file.write(chunk)
  await file.sync()
  await file.close()
  const seconds = (performance.now() - start) / 1000
  await rm(path)
  return bytes / MEGABYTE / seconds
}

interface Job {
  readonly uploads: number
  readonly parameters: number
  readonly disk: number
}

async function measure(child: ChildProcess, { uploads, parameters, disk }: Job) {
  const opened = (await once(child, 'message'))[0] as Opened // what it says first
  await start(opened)
  const volunteers = await Promise.all(Array.from({ length: uploads + 1 }, (_, n) => takeSeat(opened.url, n)))
  const dishes = await prepareDishes(volunteers.slice(0, uploads), parameters)
  const idle = await observed(child, () => new Promise((resolve) => setTimeout(resolve, IDLE_MS)))
  let each: number[] = []
  const begin = performance.now()
  const busy = await observed(child, async () => {
    each = await Promise.all(dishes.map((dish) => upload(opened.url, dish)))
  })
  const seconds = (performance.now() - begin) / 1000
  for (const { socket } of volunteers) socket.disconnect()
  const bytes = CODECS[CODEC].byteLength(parameters)
  return { rows: [rowOf({ uploads, bytes, seconds, disk }, idle, busy)], uploads: [spreadOf(each)] }
}

async function observed(child: ChildProcess, work: () => Promise<void>): Promise<Observed> {
  child.send('look')
  await work()
  child.send('tell')
  return (await once(child, 'message'))[0] as Observed // what it answers to that
}

async function start(opened: Opened): Promise<void> {
  const operator = await logInFirst(opened)
  const answer = await post(opened.url + ROUTES.adminRunAction('start'), {}, operator)
  if (answer.status !== 200) throw new Error(`The run does not start: ${JSON.stringify(answer.body)}`)
}

interface Volunteer {
  readonly socket: Socket
  readonly run: string
  readonly token: string
}

/** Each from an address of their own. */
async function takeSeat(url: string, n: number): Promise<Volunteer> {
  const socket = connect(
    url,
    { protocol: PROTOCOL_VERSION },
    { 'x-forwarded-for': `10.0.${n >> 8}.${n & 255}` },
  )
  const { run, token } = await new Promise<Welcome>((resolve, reject) => {
    socket.on('welcome', resolve)
    socket.on('connect_error', reject)
  })
  await ask(socket, 'join', { backend: 'wasm', tokensPerSecond: 1_000, device: 'a benchmark' })
  return { socket, run: run?.id ?? '', token: token ?? '' }
}

const ask = (socket: Socket, event: string, message: unknown): Promise<unknown> =>
  socket.timeout(30_000).emitWithAck(event, message) as Promise<unknown>

interface Dish {
  readonly lease: string
  readonly token: string
  readonly sha256: string
  readonly steps: number
  readonly chunks: readonly Uint8Array[]
  readonly bytes: number
}

/** All alike but for their first block, so that they have different names and this process holds them once. */
async function prepareDishes(volunteers: readonly Volunteer[], parameters: number): Promise<Dish[]> {
  const { blockSize, encode } = CODECS[CODEC]
  const alike = encode(valuesOf(parameters, 0))
  return Promise.all(
    volunteers.map(async (volunteer, n) => {
      const { id, bytes, steps } = await leaseOf(volunteer)
      if (bytes !== alike.length) throw new Error(`A lease asks for ${bytes} bytes, not ${alike.length}.`)
      const first = encode(valuesOf(blockSize, n + 1))
      const chunks = [first, ...chunksOf(alike.subarray(first.length))]
      const sha256 = hashOf(chunks)
      return { lease: id, token: volunteer.token, sha256, steps, chunks, bytes }
    }),
  )
}

/** Small, and no two phases alike. */
const valuesOf = (count: number, phase: number): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => 1e-4 * Math.sin(i + phase))

function chunksOf(bytes: Uint8Array): Uint8Array[] {
  const count = Math.ceil(bytes.length / CHUNK_BYTES)
  return Array.from({ length: count }, (_, i) => bytes.subarray(i * CHUNK_BYTES, (i + 1) * CHUNK_BYTES))
}

function hashOf(chunks: readonly Uint8Array[]): string {
  const hash = createHash('sha256')
  for (const chunk of chunks) hash.update(chunk)
  return hash.digest('hex')
}

async function leaseOf({ socket, run }: Volunteer): Promise<Lease> {
  let lease: Lease | undefined
  await until(async () => {
    const answer = (await ask(socket, 'lease', { run, after: null, tokensPerSecond: 1_000 })) as {
      lease?: Lease
    } // a LeaseAnswer
    lease = answer.lease
    return lease !== undefined
  }, 'a lease')
  return lease as Lease // until ends only with one
}

/** Seconds from the request to the receipt. @throws Error when it is not accepted. */
async function upload(url: string, { lease, token, sha256, steps, chunks, bytes }: Dish): Promise<number> {
  const begin = performance.now()
  const query = `sha256=${sha256}&steps=${steps}&loss=6.5&offset=0`
  const put = request(`${url}${ROUTES.contribution(lease)}?${query}`, {
    method: 'PUT',
    agent: false,
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/octet-stream',
      'content-length': bytes,
    },
  })
  const answered = once(put, 'response')
  await pipeline(Readable.from(chunks, { objectMode: true, highWaterMark: 1 }), put)
  const [response] = await answered
  const receipt = receiptSchema.parse(JSON.parse(await text(response)))
  if (receipt.result !== 'accepted') throw new Error(`Not accepted: ${receipt.message}`)
  return (performance.now() - begin) / 1000
}

function rowOf(
  { uploads, bytes, seconds, disk }: { uploads: number; bytes: number; seconds: number; disk: number },
  idle: Observed,
  { rssBefore, rssPeak, delay, intervalMs, cpuSeconds }: Observed,
): Row {
  return {
    uploads,
    megabytesEach: round(bytes / MEGABYTE),
    seconds: round(seconds),
    megabytesPerSecond: round((uploads * bytes) / MEGABYTE / seconds),
    diskMegabytesPerSecond: round(disk),
    rssBeforeMegabytes: round(rssBefore / MEGABYTE),
    rssPeakMegabytes: round(rssPeak / MEGABYTE),
    delayP50Ms: round(delay.p50),
    delayP99Ms: round(delay.p99),
    delayMaxMs: round(delay.max),
    idleDelayP99Ms: round(idle.delay.p99),
    delayIntervalMs: intervalMs,
    coordinatorCpuSeconds: round(cpuSeconds),
  }
}

function spreadOf(seconds: readonly number[]): Spread {
  const sorted = seconds.toSorted((a, b) => a - b)
  const at = (share: number) => round(sorted[Math.round(share * (sorted.length - 1))] ?? 0)
  return { fastestSeconds: at(0), medianSeconds: at(0.5), slowestSeconds: at(1) }
}

const round = (value: number): number => Math.round(value * 10) / 10
