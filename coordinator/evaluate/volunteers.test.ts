/** A whole coordinator whose evaluations are measured by tabs: honest ones with a real engine, and others. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bytesToFloats } from '../../shared/codec/floats.ts'
import { decodeShard } from '../../shared/corpus/shard.ts'
import type { Engine } from '../../shared/engine/engine.ts'
import { createTfjsEngine } from '../../shared/engine/tfjs/createTfjsEngine.ts'
import { nodeWasmPaths } from '../../shared/engine/tfjs/nodeWasmPaths.ts'
import { PRESETS } from '../../shared/model/config.ts'
import { ROUTES } from '../../shared/protocol/admin.ts'
import type { Slice } from '../../shared/protocol/evaluation.ts'
import type { Coordinator } from '../coordinator.ts'
import { openSqliteStore } from '../store/sqlite.ts'
import { logInFirst, post, smallRun, startOn, Tab, until } from '../testing.ts'

const CONFIG = PRESETS.nano
const TOKENS = 6_400
const SLICES = 4 // 100 sequences, 32 to a slice
let folder: string
let coordinator: Coordinator
let engine: Engine
let tabs: Tab[]

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'potluck-'))
  coordinator = await startOn(folder, { POTLUCK_HELD_OUT_TOKENS: String(TOKENS) })
  const operator = await logInFirst(coordinator)
  await post(coordinator.url + ROUTES.adminRuns, { ...smallRun, evaluation: 'volunteers' }, operator)
  await until(() => coordinator.runs.view()?.evaluation != null, 'the evaluation of the untrained model')
  tabs = [
    await Tab.joined(coordinator.url),
    await Tab.joined(coordinator.url),
    await Tab.joined(coordinator.url),
  ]
  engine = await createTfjsEngine({ backend: 'wasm', config: CONFIG, wasmPaths: nodeWasmPaths() })
  engine.setParameters(bytesToFloats(await blob(view().weights?.[0]?.hash ?? '')))
}, 120_000)
afterAll(async () => {
  engine?.dispose()
  for (const tab of tabs ?? []) tab.close()
  await coordinator?.stop()
  await rm(folder, { recursive: true, force: true })
})

const view = () => {
  const run = coordinator.runs.view()
  if (run === null) throw new Error('There is no run.')
  return run
}
const blob = async (hash: string) =>
  new Uint8Array(await (await fetch(coordinator.url + ROUTES.blob(hash))).arrayBuffer())

async function lease(tab: Tab): Promise<Slice | null> {
  const answer = (await tab.ask('slice', { run: view().id, round: 0 })) as { slice?: Slice } // or { none }
  return answer.slice ?? null
}

async function measure(slice: Slice): Promise<{ nats: number; tokens: number }> {
  const tokens = decodeShard(await blob(slice.set), CONFIG)
  const stride = CONFIG.sequenceLength + 1
  return engine.evaluate(tokens.subarray(slice.first * stride, (slice.first + slice.count) * stride))
}

/** Measures until there is nothing for this tab; `distort` makes a liar of it. */
async function work(tab: Tab, distort: (nats: number) => number = (nats) => nats): Promise<unknown[]> {
  const answers = []
  for (;;) {
    const slice = await lease(tab)
    if (slice === null) return answers
    const { nats, tokens } = await measure(slice)
    answers.push(
      await tab.ask('measured', { slice: slice.id, weights: slice.weights, nats: distort(nats), tokens }),
    )
  }
}

const [OVER, BAD] = [{ error: { code: 'slice-over' } }, { error: { code: 'bad-request' } }]

describe('an evaluation by volunteers', () => {
  it('E10 takes nothing from who does not take part, holds no slice, or sends nonsense', async () => {
    const [ann, bob] = tabs as [Tab, Tab]
    const onlooker = await Tab.open(coordinator.url)
    expect(await onlooker.ask('slice', { run: view().id, round: 0 })).toMatchObject(BAD)
    onlooker.close()
    const slice = await lease(ann)
    if (slice === null) throw new Error('There is no slice.')
    const { weights, id } = slice
    const honest = { slice: id, weights, ...(await measure(slice)) }
    expect(await bob.ask('measured', honest)).toMatchObject(OVER)
    for (const change of [
      { nats: null },
      { nats: -1 },
      { nats: 1e12 },
      { tokens: 0.5 },
      { weights: [] },
      { more: 1 },
    ])
      expect(await ann.ask('measured', { ...honest, ...change })).toMatchObject(BAD)
    expect(await ann.ask('measured', honest)).toEqual({ ok: true }) // the slice was still ann's
    expect(await ann.ask('measured', honest)).toMatchObject(OVER)
    expect(view().evaluation).toMatchObject({ round: 0, slices: SLICES, settled: 0 })
  })

  it('E8 E9 E11 comes to what the model loses, whatever a liar says, who is reported', async () => {
    const [ann, bob, eve] = tabs as [Tab, Tab, Tab]
    await work(eve, (nats) => 0.9 * nats)
    expect(view().initialValLoss).toBeNull()
    expect(view().evaluation?.settled).toBe(0)
    await work(ann)
    await work(bob)
    await until(() => view().initialValLoss !== null, 'the loss')
    const tokens = decodeShard(await blob((await kept()).data), CONFIG)
    const { nats } = await engine.evaluate(tokens)
    expect(Math.abs((view().initialValLoss ?? 0) / (nats / TOKENS) - 1)).toBeLessThan(1e-6)
    const { problems } = await coordinator.runs.adminView()
    expect(problems).toMatchObject([{ code: 'evaluation-odd', message: expect.stringContaining(eve.id) }])
    expect(view().evaluation).toBeNull()
    expect(view().samples).toEqual([])
  })

  it('E1 is kept with the hashes of the weights and of the text, and by whom', async () => {
    expect(await kept()).toMatchObject({
      weights: view().weights?.map(({ hash }) => hash),
      by: 'volunteers',
      examples: 100,
      tokens: TOKENS,
    })
  })
})

/** What the database holds, read beside the coordinator. */
async function kept() {
  const store = await openSqliteStore(join(folder, 'potluck.sqlite'))
  const row = await store.heldOut(view().id, 0)
  await store.close()
  if (row === null) throw new Error('Nothing was kept.')
  return row
}

it('E2 an evaluation that was open begins again after a restart', async () => {
  const other = await mkdtemp(join(tmpdir(), 'potluck-'))
  let house = await startOn(other, { POTLUCK_HELD_OUT_TOKENS: String(TOKENS) })
  const operator = await logInFirst(house)
  await post(house.url + ROUTES.adminRuns, { ...smallRun, evaluation: 'volunteers' }, operator)
  await until(() => house.runs.view()?.evaluation != null, 'the evaluation')
  await house.stop()
  house = await startOn(other, { POTLUCK_HELD_OUT_TOKENS: String(TOKENS) })
  await until(() => house.runs.view()?.evaluation != null, 'the evaluation again')
  expect(house.runs.view()?.evaluation).toMatchObject({ round: 0, slices: SLICES, settled: 0 })
  expect(house.runs.view()?.initialValLoss).toBeNull()
  await house.stop()
  await rm(other, { recursive: true, force: true })
}, 120_000)
