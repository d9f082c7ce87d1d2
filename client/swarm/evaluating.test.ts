/** A tab's part in evaluations, with weights in memory and a coordinator that answers by hand. */
import { beforeEach, describe, expect, it } from 'vitest'
import { floatsToBytes } from '../../shared/codec/floats.ts'
import { encodeShard } from '../../shared/corpus/shard.ts'
import { PRESETS } from '../../shared/model/config.ts'
import { fragments } from '../../shared/model/layout.ts'
import type { OpenEvaluation, SliceAnswer, SliceGrant } from '../../shared/protocol/evaluation.ts'
import { LIMITS } from '../../shared/protocol/limits.ts'
import { BlobStore } from '../storage/blobStore.ts'
import { FakeCoordinator, MemoryFolder, never } from '../storage/fakes.ts'
import { GlobalWeights } from '../storage/weights.ts'
import { fakeRun } from '../volunteer/fakes.ts'
import { type Circumstances, Evaluating } from './evaluating.ts'

const MODEL = PRESETS.nano
const STRIDE = MODEL.sequenceLength + 1
const RUN = 'run_12345678'

let coordinator: FakeCoordinator
let weights: GlobalWeights
let evaluating: Evaluating
let now: number
let grants: SliceGrant[]
let answers: SliceAnswer[]
let measured: { values: Float32Array; sequences: Uint16Array }[]
/** Two rounds' weights in two fragments. */
let hashes: string[][]
let set: string

beforeEach(async () => {
  coordinator = new FakeCoordinator()
  coordinator.chunk = 1_000_000
  const options = { fetch: coordinator.fetch, store: new BlobStore(new MemoryFolder()) }
  weights = new GlobalWeights(options)
  now = 0
  evaluating = new Evaluating(weights, options, () => now)
  ;[grants, answers, measured] = [[], [], []]
  const put = (round: number) =>
    Promise.all(
      fragments(MODEL, 2).map((ranges, i) => coordinator.put(floatsToBytes(filled(ranges, 10 * round + i)))),
    )
  hashes = [await put(1), await put(2)]
  set = await coordinator.put(encodeShard(Uint16Array.from({ length: 40 * STRIDE }, (_, i) => i % 1_000)))
})

const filled = (ranges: readonly { size: number }[], value: number) =>
  new Float32Array(ranges.reduce((sum, { size }) => sum + size, 0)).fill(value)

const views = (round: number) =>
  (hashes[round - 1] ?? []).map((hash, i) => {
    const parameters = (fragments(MODEL, 2)[i] ?? []).reduce((sum, { size }) => sum + size, 0)
    return { hash, bytes: 4 * parameters, deltas: [] }
  })
const open = (round: number): OpenEvaluation => ({
  round,
  weights: hashes[round - 1] ?? [],
  slices: 2,
  settled: 0,
})
const slice = (round: number): SliceGrant => ({
  slice: { id: 'slice-001', run: RUN, round, weights: hashes[round - 1] ?? [], set, first: 32, count: 8 },
})

/** The run's newest weights are those of round `newest`; the evaluation open is of round `of`. */
function here(newest: number, of: number | null, change: Partial<Circumstances> = {}): Circumstances {
  const engine = {
    async evaluateAt(values: Float32Array, sequences: Uint16Array) {
      measured.push({ values, sequences })
      now += 1_000
      return { nats: 123, tokens: sequences.length - sequences.length / STRIDE }
    },
  }
  return {
    run: fakeRun({ id: RUN, weights: views(newest), evaluation: of === null ? null : open(of) }),
    model: MODEL,
    engine,
    connection: {
      slice: async () => grants.shift() ?? { none: true },
      measured: async (answer) => void answers.push(answer),
    },
    waiting: true,
    trained: 0,
    idle: 0,
    tokensPerSecond: 10_000,
    signal: never,
    ...change,
  }
}

/** As its lease does. */
async function fetchWeights(round: number): Promise<void> {
  for (const [index, view] of views(round).entries())
    await weights.fragment(index, view, view.bytes / 4, never)
}

describe('a tab', () => {
  it('V7 measures the sequences of its slice on the evaluation’s weights, and says which those were', async () => {
    grants.push(slice(1))
    expect(await evaluating.measureOne(here(1, 1))).toBe(true)
    expect(answers).toEqual([{ slice: 'slice-001', weights: hashes[0], nats: 123, tokens: 8 * 64 }])
    expect([...(measured[0]?.sequences ?? [])]).toEqual(
      Array.from({ length: 8 * STRIDE }, (_, i) => (32 * STRIDE + i) % 1_000),
    )
    const ranges = fragments(MODEL, 2)
    for (const [i, fragment] of ranges.entries()) {
      for (const { offset, size } of fragment) {
        expect(measured[0]?.values[offset]).toBe(10 + i)
        expect(measured[0]?.values[offset + size - 1]).toBe(10 + i)
      }
    }
  })

  it('V7 asks for nothing when no evaluation is open, and not again at once when there is nothing for it', async () => {
    expect(await evaluating.measureOne(here(1, null))).toBe(false)
    expect(await evaluating.measureOne(here(1, 1))).toBe(false)
    grants.push(slice(1))
    expect(await evaluating.measureOne(here(1, 1))).toBe(false)
    expect(grants).toHaveLength(1)
    now += 5_000
    expect(await evaluating.measureOne(here(1, 1))).toBe(true)
  })

  it('V7 measures however slow it takes itself to be, once it has waited long enough', async () => {
    const slow = (idle: number) => here(1, 1, { idle, tokensPerSecond: 100 }) // 6.8 s to a slice
    grants.push(slice(1))
    expect(await evaluating.measureOne(slow(0))).toBe(false)
    expect(await evaluating.measureOne(slow(67))).toBe(false)
    expect(await evaluating.measureOne(slow(69))).toBe(true)
  })

  it('V8 fetches the newest weights only while it waits, and loses no chance by not doing so', async () => {
    grants.push(slice(1))
    const busy = { waiting: false, trained: 1_000 }
    expect(await evaluating.measureOne(here(1, 1, busy))).toBe(false)
    expect(coordinator.requests).toEqual([])
    expect(await evaluating.measureOne(here(1, 1))).toBe(true)
    grants.push(slice(1))
    expect(await evaluating.measureOne(here(1, 1, busy))).toBe(true) // now they are here
  })

  it('V8 measures older weights that it kept', async () => {
    grants.push(slice(1))
    await fetchWeights(1)
    await evaluating.follow({ evaluation: open(1) })
    await fetchWeights(2)
    const requests = coordinator.requests.length
    expect(await evaluating.measureOne(here(2, 1))).toBe(true)
    expect(measured[0]?.values[0]).toBe(10)
    expect(coordinator.requests.length).toBe(requests + 1) // the held-out set's
  })

  it('V8 fetches older weights once, while it waits and when they are small', async () => {
    grants.push(slice(1), slice(1))
    expect(await evaluating.measureOne(here(2, 1, { waiting: false, trained: 1_000 }))).toBe(false)
    const large = here(2, 1)
    const run = { ...large.run, parameters: LIMITS.evaluation.olderWeightsBytes }
    expect(await evaluating.measureOne({ ...large, run })).toBe(false)
    expect(coordinator.requests).toEqual([])
    expect(await evaluating.measureOne(here(2, 1))).toBe(true)
    expect(await evaluating.measureOne(here(2, 1))).toBe(true)
    expect(measured.map(({ values }) => values[0])).toEqual([10, 10])
    expect(coordinator.requests).toHaveLength(3) // two fragments and the held-out set
  })

  it('V7 takes no more than its share between two leases', async () => {
    await fetchWeights(1)
    grants.push(slice(1), slice(1), slice(1))
    const busy = { waiting: false, trained: 21 } // a twentieth is a second and a bit; a slice takes 0.07 s by its speed
    expect(await evaluating.measureOne(here(1, 1, busy))).toBe(true) // and took one
    expect(await evaluating.measureOne(here(1, 1, busy))).toBe(false)
    expect(await evaluating.measureOne(here(1, 1, { waiting: false, trained: 41 }))).toBe(true)
  })
})
