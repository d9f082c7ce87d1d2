/** GET /metrics of a whole coordinator; the numbers are worked by hand from what its volunteers did. */
import { mkdtemp, rm } from 'node:fs/promises'
import { get } from 'node:http'
import { connect as connectTcp } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ROUTES } from '../../shared/protocol/admin.ts'
import type { Lease } from '../../shared/protocol/run.ts'
import { readConfig } from '../config.ts'
import { type Coordinator, startCoordinator } from '../coordinator.ts'
import { boundOf } from '../runs/contribution.ts'
import { openFileBlobStore } from '../store/fileBlobs.ts'
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
} from '../testing.ts'
import { readMetrics } from './testing.ts'

// Preset nano has 172,480 parameters.
const WEIGHTS = 4 * 172_480 // f32
const CONTRIBUTION = 2 * 172_480 + 2 * 674 // f16, with a scale for each of 674 blocks of 256

let folder: string
let coordinator: Coordinator
let a: Tab
let b: Tab
const seen: string[] = []

const url = () => coordinator.url
const scrape = async () => readMetrics(String((await call(url() + ROUTES.metrics)).body))
const value = async (series: string) => (await scrape()).samples.get(series)
const reaches = (series: string, wanted: number) =>
  until(async () => (await value(series)) === wanted, `${series} ${wanted}`)
const weights = () => coordinator.runs.machine?.fragments[0]?.base.weights ?? ''
const blob = async (hash: string, init: RequestInit = {}) =>
  (await fetch(url() + ROUTES.blob(hash), init)).arrayBuffer()

async function leaseOf(tab: Tab): Promise<Lease> {
  const lease = await tab.lease()
  seen.push(lease.id)
  return lease
}

function good(phase = 0): Uint8Array<ArrayBuffer> {
  const { machine } = coordinator.runs
  if (!machine) throw new Error('The run is not prepared.')
  const bound = boundOf(machine, { volunteer: 'nobody-00', round: machine.round, after: null }, 1)
  return contribution(machine.parameters, bound / 2, phase)
}

const NOT_FINITE = () => {
  const bytes = good()
  bytes.set([0, 0x7e], 104)
  return bytes
}

/** What the samples named grew by. */
async function growth(
  names: readonly string[],
  work: () => Promise<unknown>,
): Promise<Record<string, number>> {
  const { samples: before } = await scrape()
  await work()
  const { samples: after } = await scrape()
  return Object.fromEntries(names.map((name) => [name, (after.get(name) ?? NaN) - (before.get(name) ?? NaN)]))
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'potluck-'))
  coordinator = await startOn(folder)
  const operator = await logInFirst(coordinator)
  await post(url() + ROUTES.adminRuns, smallRun, operator)
  await until(() => coordinator.runs.view()?.status === 'ready', 'the prepared run')
  await until(() => coordinator.runs.view()?.initialValLoss !== null, 'the first evaluation')
  await post(url() + ROUTES.adminRunAction('start'), {}, operator)
  ;[a, b] = [await Tab.joined(url()), await Tab.joined(url())]
  seen.push(a.id, b.id, a.welcome.volunteer.name, b.welcome.volunteer.name, a.token, smallRun.name)
})
afterAll(async () => {
  for (const tab of [a, b]) tab?.close()
  await coordinator?.stop()
  await rm(folder, { recursive: true, force: true })
})

describe('metrics', () => {
  it('of a run that has begun: nothing has happened, and the untrained model is measured', async () => {
    const { samples } = await scrape()
    expect(samples.get('potluck_round')).toBe(1)
    expect(samples.get('potluck_rounds_closed_total')).toBe(0)
    expect(samples.get('potluck_volunteers_present')).toBe(2)
    expect(samples.get('potluck_phase_seconds_count{phase="gathering"}')).toBe(1)
    expect(samples.get('potluck_phase_seconds_count{phase="evaluating"}')).toBe(1)
    expect(samples.get('potluck_held_out_loss')).toBeCloseTo(Math.log(1_024), 1) // of 1,024 tokens, guessing
    expect(samples.get('potluck_held_out_perplexity')).toBeCloseTo(
      Math.exp(samples.get('potluck_held_out_loss') ?? Number.NaN),
      6,
    )
    expect(samples.get('potluck_held_out_bits_per_byte')).toBe(coordinator.runs.view()?.initialBitsPerByte)
    expect(samples.get('potluck_evaluated_round')).toBe(0)
    expect(samples.get('potluck_evaluations_total{result="done"}')).toBe(1)
    expect(samples.get('potluck_evaluations_total{result="failed"}')).toBe(0)
    expect(samples.get('potluck_evaluation_slices_total{result="odd"}')).toBe(0)
    expect(samples.has('potluck_evaluation_slices_open{state="open"}')).toBe(false) // the coordinator measures itself
    expect(samples.has('potluck_volunteer_utilisation_ratio')).toBe(false)
    expect([...samples.keys()].filter((series) => series.startsWith('potluck_last_round'))).toEqual([])
  })

  it('are exact after a merged round', async () => {
    await blob(weights())
    await blob(weights(), { headers: { range: 'bytes=8-23' } })
    await blob(weights(), { method: 'HEAD' })
    await blob('0'.repeat(64)) // an error is no blob
    const [leaseA, leaseB] = [await leaseOf(a), await leaseOf(b)]
    expect(await value('potluck_leases_open{round="current"}')).toBe(2)
    await a.send(leaseA, good(1))
    await a.send(leaseA, good(1)) // again: counted once, but it travelled
    await b.send(leaseB, good(2), { steps: 1 })
    await until(() => coordinator.runs.machine?.round === 2, 'round 2')
    await reaches('potluck_upload_bytes_total', 3 * CONTRIBUTION) // the repeated one is answered before it is read
    const { samples } = await scrape()
    const expected = {
      potluck_round: 2,
      potluck_rounds_closed_total: 1,
      'potluck_leases_open{round="current"}': 0,
      'potluck_leases_open{round="ahead"}': 0,
      'potluck_leases_ended_total{end="accepted"}': 2,
      'potluck_leases_ended_total{end="closed"}': 0,
      'potluck_contributions_total{result="accepted",reason="none"}': 2,
      'potluck_contributions_total{result="rejected",reason="stale"}': 0,
      potluck_accepted_tokens_total: 3 * 64,
      potluck_accepted_inner_steps_total: 3,
      potluck_accepted_bytes_total: 2 * CONTRIBUTION,
      potluck_upload_bytes_total: 3 * CONTRIBUTION,
      potluck_download_bytes_total: WEIGHTS + 16,
      'potluck_last_round_bytes{direction="up"}': 2 * CONTRIBUTION,
      'potluck_last_round_bytes{direction="down"}': WEIGHTS + 16,
      'potluck_last_round_volunteer_bytes{direction="up"}': CONTRIBUTION,
      'potluck_last_round_volunteer_bytes{direction="down"}': 344_968,
      // 3 steps × 172,480 parameters × 2 bytes each way, over 692,616 up and 689,936 down.
      'potluck_data_parallel_traffic_ratio{over="last_round"}': 2_069_760 / 1_382_552,
      'potluck_data_parallel_traffic_ratio{over="run"}': 2_069_760 / 1_382_552,
      'potluck_phase_seconds_count{phase="training"}': 1,
      'potluck_phase_seconds_count{phase="merging"}': 1,
    }
    const shown = Object.fromEntries(Object.keys(expected).map((series) => [series, samples.get(series)]))
    expect(shown).toEqual(expected)
  })

  it('show the loss of the newest round and the mean of what tabs report', async () => {
    await until(() => coordinator.runs.view()?.history.at(-1)?.valLoss != null, 'the evaluation')
    const { body } = await call(url() + ROUTES.run)
    expect(body).toMatchObject({ run: { history: [{ valLoss: await value('potluck_held_out_loss') }] } })
    await a.ask('state', { state: 'training', utilisation: 0.5 })
    await b.ask('state', { state: 'training', utilisation: 1 })
    expect(await value('potluck_volunteer_utilisation_ratio')).toBe(0.75)
  })

  it('show a refused contribution with its reason, and its bytes as come but not accepted', async () => {
    const grown = {
      'potluck_contributions_total{result="rejected",reason="not-finite"}': 1,
      'potluck_contributions_total{result="accepted",reason="none"}': 0,
      'potluck_leases_ended_total{end="refused"}': 1,
      potluck_accepted_bytes_total: 0,
      potluck_upload_bytes_total: CONTRIBUTION,
    }
    const work = async () => a.send(await leaseOf(a), NOT_FINITE())
    expect(await growth(Object.keys(grown), work)).toEqual(grown)
  })

  it('count the bytes of uploads that nobody reads', async () => {
    const before = (await value('potluck_upload_bytes_total')) ?? NaN
    const bytes = new Uint8Array(1_000)
    expect((await send(url(), 'nosuchlease', { token: a.token, bytes })).status).toBe(404)
    expect((await send(url(), 'nosuchlease', { token: 'x'.repeat(43), bytes })).status).toBe(401)
    await reaches('potluck_upload_bytes_total', before + 2_000)
    expect(await value('potluck_contributions_total{result="rejected",reason="unknown-lease"}')).toBe(1)
  })

  it('count of a broken-off upload what arrived', async () => {
    const before = (await value('potluck_upload_bytes_total')) ?? NaN
    const bytes = good(3)
    const lease = await leaseOf(b)
    const broken = await beginUpload(lease, bytes, 5_000)
    await reaches('potluck_upload_bytes_total', before + 5_000)
    broken.destroy()
    expect((await b.send(lease, bytes)).body.result).toBe('accepted')
    expect(await value('potluck_upload_bytes_total')).toBe(before + 5_000 + CONTRIBUTION)
  })

  it('count of an aborted download what was sent, not what was asked for', async () => {
    const size = 64 * 1024 * 1024 // more than a connection's buffers hold
    const hash = await (await openFileBlobStore(join(folder, 'blobs'))).put(new Uint8Array(size))
    const before = (await value('potluck_download_bytes_total')) ?? NaN
    const got = await abortedDownload(hash)
    let sent = -1
    await until(async () => {
      const last = sent
      sent = ((await value('potluck_download_bytes_total')) ?? NaN) - before
      return sent === last
    }, 'the end of the sending')
    expect(sent).toBeGreaterThanOrEqual(got)
    expect(sent).toBeLessThan(size)
  })

  it('name nobody, and every label has a few values', async () => {
    const { body } = await call(url() + ROUTES.metrics)
    seen.push(coordinator.runs.machine?.run ?? '', weights())
    for (const secret of seen) expect(String(body)).not.toContain(secret)
    const { samples, types, help } = readMetrics(String(body))
    expect(samples.size).toBeLessThan(150)
    for (const [name, type] of types) {
      expect(name).toMatch(/^potluck_[a-z_]+$/)
      expect(name.endsWith('_total')).toBe(type === 'counter')
      expect(help.get(name)).toMatch(/^[A-Z].{20,}\.$/)
    }
  })

  it('say how the process fares', async () => {
    const { samples } = await scrape()
    expect(samples.get('potluck_process_memory_bytes{kind="resident"}')).toBeGreaterThan(10e6)
    expect(samples.get('potluck_process_cpu_seconds_total')).toBeGreaterThan(0)
    for (const stat of ['p50', 'p99', 'max']) {
      expect(samples.get(`potluck_event_loop_delay_seconds{stat="${stat}"}`)).toBeGreaterThanOrEqual(0)
    }
  })

  // Last: it stops the shared coordinator.
  it('after a restart: gauges are what they were, counters start over, the round’s bytes are kept', async () => {
    const { samples: before } = await scrape()
    const down = (before.get('potluck_download_bytes_total') ?? NaN) - (WEIGHTS + 16) // since round 2 began
    await coordinator.stop()
    coordinator = await startOn(folder)
    const { samples } = await scrape()
    const kept = [...before.keys()].filter((s) => /_(last_round\w*|ratio|round|held_out_loss)(\{|$)/.test(s))
    const gone = 'potluck_volunteer_utilisation_ratio' // nobody is back yet
    for (const series of kept)
      if (series !== gone) expect([series, samples.get(series)]).toEqual([series, before.get(series)])
    for (const series of ['potluck_rounds_closed_total', 'potluck_upload_bytes_total']) {
      expect(samples.get(series)).toBe(0)
    }
    ;[a, b] = [await Tab.joined(url(), a.token), await Tab.joined(url(), b.token)]
    await blob(weights())
    await a.send(await leaseOf(a), good(4))
    await until(() => coordinator.runs.machine?.round === 3, 'round 3')
    expect(await value('potluck_last_round_bytes{direction="down"}')).toBe(down + WEIGHTS)
  })
})

/** A PUT that has sent so many bytes of its body and waits. */
async function beginUpload(lease: Lease, bytes: Uint8Array, first: number) {
  const { hostname, port } = new URL(url())
  const socket = connectTcp(Number(port), hostname)
  socket.on('error', () => undefined)
  const query = `sha256=${sha256(bytes)}&steps=2&loss=6.5`
  socket.write(
    `PUT ${ROUTES.contribution(lease.id)}?${query} HTTP/1.1\r\nhost: ${hostname}\r\n` +
      `authorization: Bearer ${b.token}\r\ncontent-type: application/octet-stream\r\n` +
      `content-length: ${bytes.length}\r\n\r\n`,
  )
  socket.write(bytes.subarray(0, first))
  return socket
}

/** Reads one chunk, then no more, and breaks off; answers how much had come. */
function abortedDownload(hash: string): Promise<number> {
  return new Promise((resolve, reject) => {
    get(url() + ROUTES.blob(hash), (response) => {
      response.once('data', (chunk: Buffer) => {
        response.pause()
        response.destroy()
        resolve(chunk.length)
      })
    }).on('error', reject)
  })
}

describe('metrics with a token', () => {
  const token = 'a-token-for-prometheus'
  let guarded: Coordinator
  let data: string
  const ask = (headers: Record<string, string> = {}) => call(guarded.url + ROUTES.metrics, { headers })

  beforeAll(async () => {
    data = await mkdtemp(join(tmpdir(), 'potluck-'))
    const environment = { POTLUCK_DATA: data, POTLUCK_PORT: '0', POTLUCK_LOG: 'silent' }
    guarded = await startCoordinator(readConfig({ ...environment, POTLUCK_METRICS_TOKEN: token }))
  })
  afterAll(async () => {
    await guarded?.stop()
    await rm(data, { recursive: true, force: true })
  })

  it.each([
    {},
    { authorization: 'Bearer ' },
    { authorization: `Bearer ${token}x` },
    { authorization: `Basic ${token}` },
  ])('are refused to %o', async (headers) => {
    const answer = await ask(headers as Record<string, string>)
    expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([401, 'Bearer'])
    expect(answer.body).toMatchObject({ error: { code: 'unauthorized' } })
  })

  it('are given for it; before there is a run, they say no more than that', async () => {
    const answer = await ask({ authorization: `Bearer ${token}` })
    expect([answer.status, answer.headers.get('content-type')]).toEqual([
      200,
      'text/plain; version=0.0.4; charset=utf-8',
    ])
    expect(answer.headers.get('x-ratelimit-limit')).toBe('1200')
    const { samples } = readMetrics(String(answer.body))
    expect(samples.has('potluck_round')).toBe(false)
    expect(samples.get('potluck_volunteers_present')).toBe(0)
    expect(String(answer.body)).not.toContain(token)
  })
})
