/** Checkpoints on the whole coordinator, as the operator and tabs meet them: real HTTP, SQLite, files and merges. */
import { cp, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { bytesToFloats, floatsToBytes } from '../shared/codec/floats.ts'
import { PRESETS } from '../shared/model/config.ts'
import { fragments, gathered, parameterCount } from '../shared/model/layout.ts'
import { safetensorsHeader } from '../shared/model/safetensors.ts'
import { type AdminView, ROUTES } from '../shared/protocol/admin.ts'
import type { CheckpointRules } from '../shared/protocol/checkpoints.ts'
import type { RunConfig } from '../shared/protocol/run.ts'
import type { Coordinator } from './coordinator.ts'
import { emptyPool } from './rounds/pool.ts'
import type { Machine } from './rounds/state.ts'
import { boundOf } from './runs/contribution.ts'
import { call, contribution, furnish, post, smallRun, startOn, Tab, until } from './testing.ts'

const ALONE: RunConfig = { ...smallRun, replicas: 1, quorum: 1 }
const MODEL = PRESETS.nano

/** Every test begins with a copy of it. */
let furnished: string
let folder: string
let coordinator: Coordinator
let operator: Record<string, string>
let tab: Tab
/** The tab's volunteer, of this test's coordinator. */
let token: string | undefined

const url = () => coordinator.url
const machine = (): Machine => {
  const found = coordinator.runs.machine
  if (!found) throw new Error('The run is not prepared.')
  return found
}
const good = (phase: number) => goodFor(0, phase)
const view = async () => (await call(url() + ROUTES.adminView, { headers: operator })).body as AdminView // our own route
const rounds = async () => (await view()).checkpoints.map(({ round }) => round).reverse()
const act = (action: 'start' | 'pause' | 'resume' | 'end') =>
  post(url() + ROUTES.adminRunAction(action), {}, operator)
const rollBack = (round: number, run = machine().run) =>
  post(url() + ROUTES.adminRollBack, { run, round }, operator)
const refusal = (status: number, code: string) => ({
  status,
  body: { error: { code, message: expect.any(String) } },
})

async function begin(config: RunConfig): Promise<void> {
  expect((await post(url() + ROUTES.adminRuns, config, operator)).status).toBe(200)
  await startReady()
}

async function startReady(): Promise<void> {
  await until(() => coordinator.runs.view()?.status === 'ready', 'the prepared run')
  await act('start')
  tab?.close()
  tab = await Tab.joined(url(), token)
  token = tab.token
}

/** The tab alone brings a round to its end. */
async function closeRound(phase = machine().round, bytes?: Uint8Array<ArrayBuffer>): Promise<void> {
  const { round } = machine()
  const lease = await tab.lease()
  const { steps, fragment } = lease
  const { status } = await tab.send(lease, bytes ?? goodFor(fragment, phase), { steps })
  expect(status).toBe(200)
  await until(() => machine().round === round + 1, `the end of round ${round}`)
}

function goodFor(fragment: number, phase: number): Uint8Array<ArrayBuffer> {
  const { parameters } = machine().fragments[fragment]?.base ?? { parameters: 0 }
  const asked = { volunteer: 'nobody-00', round: machine().round, after: null }
  return contribution(parameters, boundOf(machine(), asked, 1) / 2, phase)
}

/** Until all rounds have been measured, for which their weights stay, and what no rule keeps is gone. */
async function settled(): Promise<void> {
  const left = () =>
    Number(coordinator.runs.view()?.initialValLoss == null) +
    coordinator.runs.rounds.filter(({ valLoss }) => valLoss === null).length
  for (let before = left(); before > 0; before = left()) await until(() => left() < before, 'an evaluation')
  await coordinator.runs.checkpoints.prune()
}

async function filesIn(store: 'blobs' | 'vault'): Promise<string[]> {
  const names = await readdir(join(folder, store), { recursive: true })
  return names.flatMap((name) => /[0-9a-f]{64}$/.exec(name)?.[0] ?? []).sort()
}

/** Comparing so many values one by one takes long. */
const same = (a: Float32Array, b: Float32Array) => Buffer.compare(floatsToBytes(a), floatsToBytes(b)) === 0

async function weightsOf(hash: string): Promise<Float32Array> {
  return bytesToFloats(new Uint8Array(await (await fetch(url() + ROUTES.blob(hash))).arrayBuffer()))
}

async function downloaded(file: 'model.safetensors' | 'config.json' | 'tokenizer.json', round: number) {
  const path = url() + ROUTES.adminCheckpoint(machine().run, round, file)
  const response = await fetch(path, { headers: operator })
  expect(response.status).toBe(200)
  return new Uint8Array(await response.arrayBuffer())
}

beforeAll(async () => {
  furnished = await mkdtemp(join(tmpdir(), 'potluck-'))
  operator = await furnish(furnished)
})
beforeEach(async () => {
  token = undefined
  folder = await mkdtemp(join(tmpdir(), 'potluck-'))
  await cp(furnished, folder, { recursive: true })
  coordinator = await startOn(folder)
})
afterEach(async () => {
  tab?.close()
  await coordinator?.stop()
  await rm(folder, { recursive: true, force: true })
})
afterAll(() => rm(furnished, { recursive: true, force: true }))

const rules = (checkpoints: Partial<CheckpointRules>): RunConfig => ({
  ...ALONE,
  checkpoints: { ...smallRun.checkpoints, ...checkpoints },
})

describe('what is kept', () => {
  it('is what the rules say, on disk too (K2, K4, K5)', async () => {
    await begin(rules({ last: 1, every: 3, best: 0 }))
    for (let i = 0; i < 8; i++) await closeRound()
    await settled()
    expect(await rounds()).toEqual([0, 3, 6, 8])
    const { run, fragments: standing } = machine()
    const store = await openStore()
    try {
      const kept = (await store.checkpoints(run)).flatMap((one) => one.fragments)
      const recent = await store.roundBlobs(run, 5)
      expect(recent.map(({ round }) => round)).toEqual([6, 7, 8])
      const vault = [
        ...kept.flatMap(({ exact, velocity }) => [exact, velocity]),
        ...recent.flatMap((one) => [one.exactBefore, one.velocityBefore, ...one.contributions]),
      ].filter((hash) => hash !== null)
      expect(await filesIn('vault')).toEqual([...new Set(vault)].sort())
      const deltas = standing.flatMap((one) => one.deltas.map(({ hash }) => hash))
      const blobs = new Set([
        ...kept.map(({ weights }) => weights),
        ...recent.map((one) => one.weightsBefore),
        ...deltas,
      ])
      const heldOut = (await store.heldOut(run, 8))?.data ?? ''
      const corpus = [...(await corpusBlobs()), heldOut]
      expect(await filesIn('blobs')).toEqual([...new Set([...blobs, ...corpus])].sort())
    } finally {
      await store.close()
    }
  })

  it('is shown with its losses and sizes, the best among them', async () => {
    await begin(rules({ last: 1, best: 1 }))
    for (let i = 0; i < 3; i++) {
      await closeRound()
      await settled()
    }
    const { checkpoints } = await view()
    expect(coordinator.runs.problems.list()).toEqual([])
    const losses = coordinator.runs.rounds.map(({ valLoss }) => valLoss ?? Number.NaN)
    const best = losses.indexOf(Math.min(...losses)) + 1
    expect(checkpoints.find(({ reasons }) => reasons.includes('best'))).toMatchObject({
      round: best,
      valLoss: losses[best - 1],
      weightsBytes: 4 * parameterCount(MODEL),
      bytes: 12 * parameterCount(MODEL),
    })
    expect(checkpoints.at(-1)).toMatchObject({ round: 0, reasons: ['start'], valLoss: expect.any(Number) })
  })
})

async function openStore() {
  const { openSqliteStore } = await import('./store/sqlite.ts')
  return openSqliteStore(join(folder, 'potluck.sqlite'))
}

async function corpusBlobs(): Promise<string[]> {
  const { manifest } = coordinator.runs.view() ?? { manifest: null }
  const { body } = await call(url() + ROUTES.blob(manifest ?? ''))
  return [manifest ?? '', ...(String(body).match(/[0-9a-f]{64}/g) ?? [])]
}

describe('a checkpoint taken away', () => {
  it('is the weights bit for bit in the order of the layout, whatever the fragments', async () => {
    await begin({ ...ALONE, fragments: 2 })
    for (let i = 0; i < 3; i++) await closeRound()
    const whole = new Float32Array(parameterCount(MODEL))
    for (const [index, ranges] of fragments(MODEL, 2).entries()) {
      const part = await weightsOf(machine().fragments[index]?.base.weights ?? '')
      let at = 0
      for (const { offset, size } of ranges) {
        whole.set(part.subarray(at, at + size), offset)
        at += size
      }
    }
    const bytes = await downloaded('model.safetensors', 3)
    const header = Number(new DataView(bytes.buffer).getBigUint64(0, true))
    expect(same(bytesToFloats(bytes.slice(8 + header)), whole)).toBe(true)
  })

  it('has its config and its tokenizer beside it', async () => {
    await begin(ALONE)
    await closeRound()
    const read = async (file: 'config.json' | 'tokenizer.json') =>
      JSON.parse(new TextDecoder().decode(await downloaded(file, 1)))
    expect(await read('config.json')).toMatchObject({
      ...{ vocab_size: 1_024, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2 },
      potluck: { round: 1, weights_sha256: [machine().fragments[0]?.base.weights] },
    })
    const { model, added_tokens } = await read('tokenizer.json')
    expect(Object.keys(model.vocab)).toHaveLength(1_024)
    expect(added_tokens).toMatchObject([{ id: 1_023, special: true }])
  })

  it('is nobody’s who is not logged in, and must be there', async () => {
    await begin(ALONE)
    const path = (round: number) => url() + ROUTES.adminCheckpoint(machine().run, round, 'model.safetensors')
    expect(await call(path(0))).toMatchObject(refusal(401, 'unauthorized'))
    expect(await call(path(7), { headers: operator })).toMatchObject(refusal(404, 'not-found'))
    expect(await call(`${path(0)}x`, { headers: operator })).toMatchObject(refusal(400, 'bad-request'))
  })
})

describe('rolling back', () => {
  it('in mid-round drops it: leases end, contributions are stale, partial uploads go, and it goes on (B1, B2, B4)', async () => {
    await begin({ ...smallRun, checkpoints: { last: 5, every: 0, best: 0 } })
    const other = await Tab.joined(url())
    const both = async () => {
      const { round } = machine()
      const [a, b] = [await tab.lease(), await other.lease()]
      await tab.send(a, good(round))
      await other.send(b, good(-round))
      await until(() => machine().round === round + 1, 'the round')
    }
    await both()
    const one = machine()
    await both()
    await both()
    const [leaseA, leaseB] = [await tab.lease(), await other.lease()]
    const sent = good(9)
    expect((await tab.send(leaseA, sent)).body.result).toBe('accepted')
    const half = new AbortController()
    const stalls = new ReadableStream({
      start: (controller) => controller.enqueue(good(8).slice(0, 100_000)),
    })
    const partial = fetch(
      `${url()}${ROUTES.contribution(leaseB.id)}?sha256=${'a'.repeat(64)}&steps=2&loss=6.5`,
      {
        method: 'PUT',
        body: stalls,
        duplex: 'half',
        signal: half.signal,
        headers: { 'content-type': 'application/octet-stream', authorization: `Bearer ${other.token}` },
      } as RequestInit, // the types lack `duplex`
    ).catch(() => null)
    await until(async () => (await partials()).length > 0, 'a part')

    expect((await rollBack(1)).status).toBe(200)
    expect(machine()).toMatchObject({ round: 2, era: 1, status: 'running', leases: {}, accepted: {} })
    expect(machine().fragments.map(({ base }) => base)).toEqual(one.fragments.map(({ base }) => base))
    expect(machine().pool).toEqual(one.pool)
    half.abort()
    await partial
    await until(async () => (await partials()).length === 0, 'the part to go')
    expect((await other.send(leaseB, good(8))).body).toMatchObject({ result: 'rejected', reason: 'stale' })
    expect((await tab.send(leaseA, sent)).body).toMatchObject({ result: 'accepted', repeated: true })

    const after = await view()
    expect(after.run).toMatchObject({ round: 2, tokens: 256, history: [{ round: 1 }] })
    expect(after.rollbacks).toMatchObject([{ from: 4, to: 1, contributions: 5, tokens: 5 * 128 }])
    expect(after.discarded.map(({ round }) => round)).toEqual([3, 2])
    const again = [await tab.lease(), await other.lease()]
    expect(again.map(({ era, round }) => [era, round])).toEqual([
      [1, 2],
      [1, 2],
    ])
    await tab.send(again[0] as (typeof again)[0], good(2))
    await other.send(again[1] as (typeof again)[0], good(5))
    await until(() => machine().round === 3, 'the round that came again')
    expect((await view()).run).toMatchObject({ tokens: 512, history: [{ round: 1 }, { round: 2 }] })
    const { volunteers } = await view()
    expect(volunteers.find(({ id }) => id === tab.id)).toMatchObject({ accepted: 5, tokens: 4 * 128 })
    other.close()
  })

  it('gives back what only discarded rounds had: the same bytes made again are not taken for old (K6)', async () => {
    await begin(rules({ last: 2 }))
    await closeRound(1)
    const [before] = machine().fragments
    await closeRound(2)
    const second = machine().fragments[0]?.base
    await settled()
    expect((await rollBack(1)).status).toBe(200)
    expect(machine().fragments[0]?.base).toEqual(before?.base)
    await closeRound(2)
    await settled()
    expect(machine().fragments[0]?.base).toEqual(second)
    await closeRound(3)
    await settled()
    expect(await rounds()).toEqual([0, 2, 3])
  })

  it('survives kill -9 before and after, and frees what it discarded (K6)', async () => {
    await begin(rules({ last: 3 }))
    for (let i = 0; i < 3; i++) await closeRound()
    await settled()
    const before = await crashed()
    expect((await rollBack(1)).status).toBe(200)
    const after = await crashed()

    await coordinator.stop()
    await restartOn(before)
    expect(machine()).toMatchObject({ round: 4, era: 0 })
    expect((await rollBack(2)).status).toBe(200)
    await coordinator.stop()

    await restartOn(after)
    expect(machine()).toMatchObject({ round: 2, era: 1 })
    await settled()
    expect(await rounds()).toEqual([0, 1])
    const exact = (await view()).checkpoints.length
    expect(exact).toBe(2)
    expect((await filesIn('vault')).length).toBeLessThanOrEqual(3) // θ and v of round 1, and its contribution
    tab.close()
    tab = await Tab.joined(url(), tab.token)
    await closeRound()
    expect(machine().round).toBe(3)
  })

  it('is refused where it makes no sense, and leaves a paused run paused', async () => {
    await begin(ALONE)
    await closeRound()
    expect(await rollBack(2)).toMatchObject(refusal(404, 'not-found'))
    expect(await rollBack(0, 'run-00000000')).toMatchObject(refusal(409, 'no-run'))
    await act('pause')
    expect((await rollBack(0)).status).toBe(200)
    expect(machine()).toMatchObject({ status: 'paused', round: 1, era: 1 })
    await act('resume')
    await closeRound()
    await act('end')
    expect(await rollBack(0)).toMatchObject(refusal(409, 'run-state'))
  })
})

/** The folder as it would be found after kill -9 now. */
async function crashed(): Promise<string> {
  const copy = await mkdtemp(join(tmpdir(), 'potluck-'))
  await coordinator.runs.checkpoints.alone(() => cp(folder, copy, { recursive: true }))
  await rm(join(copy, 'coordinator.pid'), { force: true })
  return copy
}

async function restartOn(data: string): Promise<void> {
  await rm(folder, { recursive: true, force: true })
  folder = data
  coordinator = await startOn(folder)
}

const partials = async () =>
  (await readdir(join(folder, 'vault', 'incoming'))).filter((name) => name.endsWith('.part'))

describe('a run from a checkpoint', () => {
  const branch = (config: RunConfig, moments: 'carried' | 'zero', round: number, run = machine().run) =>
    post(
      url() + ROUTES.adminRunsFrom,
      { config, start: { kind: 'checkpoint', run, round, moments } },
      operator,
    )

  it('goes on as the first one would have, moments carried (W2)', async () => {
    await begin(rules({ last: 3 }))
    const bytes = good(2)
    await closeRound(1)
    const first = machine()
    await closeRound(2, bytes)
    const second = machine().fragments[0]?.base
    await act('end')
    expect((await branch({ ...ALONE, rounds: 7 }, 'carried', 1, first.run)).status).toBe(200)
    await startReady()
    expect(machine()).toMatchObject({ round: 1, pool: first.pool, config: { rounds: 7 } })
    expect(machine().fragments[0]?.base).toEqual(first.fragments[0]?.base)
    await closeRound(1, bytes)
    expect(machine().fragments[0]?.base).toEqual(second)
    await settled()
    expect((await view()).checkpoints.map(({ round }) => round)).toEqual([1, 0, 2, 1, 0])
    expect((await downloaded('model.safetensors', 0)).length).toBeGreaterThan(4 * parameterCount(MODEL))
  })

  it('in other fragments, with other data and no moments, has the same weights (W1, W2)', async () => {
    await begin(rules({ last: 3 }))
    await closeRound()
    const { run, fragments: old } = machine()
    await act('end')
    expect((await branch({ ...ALONE, fragments: 2, seed: 'another' }, 'zero', 1)).status).toBe(200)
    await startReady()
    expect(machine().pool).toEqual(emptyPool())
    const whole = (await weightsOf(old[0]?.base.weights ?? '')) as Float32Array<ArrayBuffer>
    for (const [index, ranges] of fragments(MODEL, 2).entries()) {
      const base = machine().fragments[index]?.base
      expect(base).toMatchObject({ exact: null, velocity: null })
      expect(same(await weightsOf(base?.weights ?? ''), gathered(whole, ranges))).toBe(true)
    }
    await closeRound()
    await act('end')
    expect((await branch({ ...ALONE, fragments: 2 }, 'carried', 1, run)).status).toBe(200)
    await startReady()
    expect(machine().fragments.every(({ base }) => base.exact !== null && base.velocity !== null)).toBe(true)
    await closeRound()
    await closeRound()
  })

  it('must be of the same model, and the run before it over', async () => {
    await begin(ALONE)
    expect(await branch(ALONE, 'zero', 0)).toMatchObject(refusal(409, 'run-exists'))
    await act('end')
    expect(await branch({ ...ALONE, preset: 'micro' }, 'zero', 0)).toMatchObject(refusal(409, 'bad-start'))
    expect(await branch(ALONE, 'zero', 1)).toMatchObject(refusal(404, 'not-found'))
    expect((await view()).run?.status).toBe('ended')
  })
})

describe('a run from a safetensors file', () => {
  const bring = (bytes: Uint8Array<ArrayBuffer>, query = 'preset=nano&name=mine') =>
    call(`${url()}${ROUTES.adminImports}?${query}`, {
      method: 'PUT',
      body: bytes,
      headers: { ...operator, 'content-type': 'application/octet-stream' },
    })
  const file = (values: Float32Array): Uint8Array<ArrayBuffer> => {
    const header = safetensorsHeader(MODEL, {})
    const data = new Uint8Array(values.buffer)
    const bytes = new Uint8Array(header.length + data.length)
    bytes.set(header)
    bytes.set(data, header.length)
    return bytes
  }
  const values = Float32Array.from({ length: parameterCount(MODEL) }, (_, i) => Math.sin(i) / 50)

  it('begins at its weights, in fragments (W1, W4)', async () => {
    const { status, body } = await bring(file(values))
    expect([status, body]).toEqual([200, expect.objectContaining({ name: 'mine', preset: 'nano' })])
    const { hash } = body as { hash: string }
    const start = { kind: 'import', hash }
    const config = { ...ALONE, fragments: 2 }
    expect((await post(url() + ROUTES.adminRunsFrom, { config, start }, operator)).status).toBe(200)
    await startReady()
    for (const [index, ranges] of fragments(MODEL, 2).entries()) {
      const { base } = machine().fragments[index] ?? { base: null }
      expect(same(await weightsOf(base?.weights ?? ''), gathered(values, ranges))).toBe(true)
      expect(base?.largest).toBeCloseTo(0.02, 6)
    }
    await closeRound()
    await settled()
    expect((await view()).imports).toHaveLength(1)
    expect(await filesIn('vault')).toContain(hash)
  })

  it('is refused with the tensor and the place when it will not do', async () => {
    const spoilt = values.slice()
    spoilt[70_000] = Number.NaN
    const answer = await bring(file(spoilt))
    expect(answer).toMatchObject(refusal(422, 'bad-weights'))
    expect(JSON.stringify(answer.body)).toContain(
      'value 304 of the tensor model.layers.0.self_attn.k_proj.weight, at byte 282592',
    )
    expect(await bring(file(values).slice(0, -4))).toMatchObject(refusal(422, 'bad-weights'))
    expect(await bring(file(values), 'preset=micro&name=x')).toMatchObject(refusal(422, 'bad-weights'))
    expect(await bring(new Uint8Array(6 * 1024 * 1024))).toMatchObject(refusal(413, 'too-large'))
    expect(await bring(file(values), 'preset=pico&name=')).toMatchObject(refusal(400, 'bad-request'))
    expect((await view()).imports).toEqual([])
    expect(await readdir(join(folder, 'vault', 'incoming'))).toEqual([])
    const start = { kind: 'import', hash: 'a'.repeat(64) }
    const none = await post(url() + ROUTES.adminRunsFrom, { config: ALONE, start }, operator)
    expect(none).toMatchObject(refusal(404, 'not-found'))
  })

  it('keeps the newest few', async () => {
    for (let i = 0; i < 6; i++) await bring(file(values.map((value) => value * (i + 1))))
    expect((await view()).imports).toHaveLength(4)
    expect(await filesIn('vault')).toHaveLength(4)
  })
})
