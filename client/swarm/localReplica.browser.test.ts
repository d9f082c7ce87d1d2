/** The replica of a tab on a real engine in a real Worker; only the coordinator's blobs come from memory. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { CODECS } from '../../shared/codec/codec.ts'
import { floatsToBytes } from '../../shared/codec/floats.ts'
import { PRESETS } from '../../shared/model/config.ts'
import { initialParameters } from '../../shared/model/initial.ts'
import { fragments, gathered, type ParameterRange } from '../../shared/model/layout.ts'
import { randomFrom } from '../../shared/model/random.ts'
import { defaultRunConfig } from '../../shared/protocol/defaults.ts'
import type { FragmentView, Lease, Receipt } from '../../shared/protocol/run.ts'
import { BlobStore } from '../storage/blobStore.ts'
import { FakeCoordinator, MemoryFolder, never } from '../storage/fakes.ts'
import { forgetReplicas } from '../storage/replica.ts'
import { sha256 } from '../storage/sha256.ts'
import { GlobalWeights } from '../storage/weights.ts'
import { fakeRun } from '../volunteer/fakes.ts'
import { type SteadyEngine, startSteadyEngine } from '../worker/steadyEngine.ts'
import { CorpusCache } from './corpusCache.ts'
import { LocalReplica } from './localReplica.ts'
import { wait } from './patience.ts'
import { takeTurn } from './turn.ts'
import { Utilisation } from './utilisation.ts'

const CONFIG = PRESETS.nano
const PARTS = fragments(CONFIG, 2)
let tables = 0
let run = fakeRun({ config: { ...defaultRunConfig('nano'), innerSteps: 8, fragments: 2 } })
type Values = Float32Array<ArrayBuffer>

let engine: SteadyEngine
beforeAll(async () => {
  engine = await startSteadyEngine({ candidates: [{ backend: 'wasm' }], config: CONFIG })
}, 60_000)
afterAll(() => engine.terminate())

const lease = (round: number, change: Partial<Lease> = {}): Lease => ({
  id: `lease-${round}0000`,
  run: run.id,
  round,
  era: 0,
  fragment: (round - 1) % 2,
  steps: 4,
  batchSize: 1,
  firstStep: 4 * (round - 1),
  totalSteps: 400,
  peakLearningRate: 4e-3,
  ranges: [{ epoch: 0, first: 0, count: 4 }],
  codec: 'int8',
  errorFeedback: 1,
  bytes: 1,
  deadlineAt: null,
  ...change,
})
const accepted = (id: string): Receipt => ({
  result: 'accepted',
  lease: id,
  round: 1,
  tokens: 1,
  repeated: false,
  message: '',
})
const refused = (id: string): Receipt => ({
  result: 'rejected',
  lease: id,
  round: 1,
  reason: 'stale',
  message: '',
})

/** Some text, the same for every lease. */
class SomeText extends CorpusCache {
  override async sequences({ steps, batchSize }: Lease): Promise<Uint16Array<ArrayBuffer>> {
    const uniform = randomFrom('text')
    const length = steps * batchSize * (CONFIG.sequenceLength + 1)
    return Uint16Array.from({ length }, () => Math.floor(uniform() * 64))
  }
}

/** A replica, and global weights of two fragments that a test moves on. */
async function table() {
  await forgetReplicas(null)
  run = { ...run, id: `run-${++tables}0000` } // what the one before still writes is not this one's
  const coordinator = new FakeCoordinator()
  coordinator.chunk = 1_000_000
  const options = { fetch: coordinator.fetch, store: new BlobStore(new MemoryFolder()) }
  const replica = await LocalReplica.open(engine, run, new GlobalWeights(options))
  const publish = async (whole: Values): Promise<FragmentView[]> =>
    Promise.all(
      PARTS.map(async (ranges) => {
        const bytes = floatsToBytes(gathered(whole, ranges))
        return { hash: await coordinator.put(bytes), bytes: bytes.length, deltas: [] }
      }),
    )
  const begin = async (weights: FragmentView[], anew: boolean) =>
    (await replica.prepare(weights, { anew, signal: never, onBytes: () => undefined }))()
  const utilisation = new Utilisation()
  const turn = (
    one: Lease,
    opened: Promise<FragmentView[]>,
    onStep: (step: number) => void = () => undefined,
  ) =>
    takeTurn({
      lease: one,
      run,
      replica,
      corpus: new SomeText(),
      utilisation,
      signal: never,
      opened,
      onLoading: () => undefined,
      onTraining: ({ step }) => onStep(step),
      onWaiting: () => undefined,
      onTrained: () => undefined,
    })
  return { replica, publish, begin, turn, utilisation }
}

async function forgetMoments(): Promise<void> {
  const zeros = () => new Float32Array(first.length)
  await engine.setOptimiserState({ firstMoment: zeros(), secondMoment: zeros(), updates: 0 })
}

const first = initialParameters(CONFIG, 'first')
const moved = (values: Values, by: number): Values => values.map((value) => value + by)
const part = (values: Values, fragment: number) => gathered(values, PARTS[fragment] as ParameterRange[])
const minus = (a: Values, b: Values): Values => a.map((value, i) => value - (b[i] ?? 0))
/** The largest difference. */
const apart = (a: Values, b: Values) =>
  a.reduce((most, value, i) => Math.max(most, Math.abs(value - (b[i] ?? 0))), 0)

test('V1, V4: a first lease begins at the global weights, and contributes how far it came from them', async () => {
  const { turn, publish } = await table()
  const { bytes, trained } = await turn(lease(1), publish(first))
  expect(trained.steps).toBe(4)
  const wanted = minus(part(first, 0), part(await engine.getParameters(), 0))
  const sent = CODECS.int8.decode(bytes, wanted.length)
  const largest = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
  expect(largest).toBeGreaterThan(1e-4)
  expect(apart(sent, wanted)).toBeLessThanOrEqual(largest / 120)
})

test('V2: what was trained while the bytes travelled is carried over to the new weights of one fragment', async () => {
  const { turn, publish, replica } = await table()
  await turn(lease(1), publish(first))
  const mark = await engine.getParameters()
  replica.settle(accepted('lease-10000'))
  expect(replica.after).toBe('lease-10000')
  const next = first.slice()
  for (const { offset, size } of PARTS[0] ?? [])
    next.set(moved(first.subarray(offset, offset + size), 0.5), offset)
  // The weights come after the second step, when training is under way.
  let open = (_: FragmentView[]) => {}
  const opened = new Promise<FragmentView[]>((resolve) => {
    open = resolve
  })
  const steps: number[] = []
  const views = await publish(next)
  const { trained, bytes } = await turn(
    lease(2, { steps: 40, ranges: [{ epoch: 0, first: 0, count: 40 }] }),
    opened,
    (step) => {
      steps.push(step)
      open(views)
    },
  )
  expect(trained.steps).toBe(40)
  expect(steps.at(-1)).toBe(40)
  const local = await engine.getParameters()
  // Fragment 0 stands on the new weights: 0.5 away from the mark but for what the steps did; fragment 1 went on.
  const travelled = 40 * 4e-3 * 2.4
  expect(apart(part(local, 0), moved(part(first, 0), 0.5))).toBeLessThan(travelled)
  expect(apart(part(local, 1), part(mark, 1))).toBeLessThan(travelled)
  // And what fragment 1 sends is everything since the run began: nobody has heard of it yet.
  const wanted = minus(part(first, 1), part(local, 1))
  const sent = CODECS.int8.decode(bytes, wanted.length)
  expect(apart(sent, wanted)).toBeLessThan(travelled / 100)
}, 60_000)

test('time is not spent in inner steps any more once they have failed', async () => {
  const { turn, publish, utilisation } = await table()
  await expect(turn(lease(1), publish(first.map(() => Number.NaN)))).rejects.toThrow('parameters')
  const busy = utilisation.busySeconds
  await wait(20, never)
  expect(utilisation.busySeconds).toBe(busy)
  expect(utilisation.idleSeconds).toBeGreaterThan(0)
  await forgetMoments()
})

test('V3: a refused contribution takes its steps back everywhere, and its error feedback', async () => {
  const { turn, publish, begin, replica } = await table()
  await forgetMoments()
  const one = await turn(lease(1), publish(first))
  replica.settle(refused('lease-10000'))
  expect(replica.after).toBeNull()
  await begin(await publish(first), false)
  expect(apart(await engine.getParameters(), first)).toBe(0)
  // The same lease again from fresh moments sends the same bytes: nothing was left in the error feedback.
  await forgetMoments()
  const again = await turn(lease(1), publish(first))
  expect(await sha256(again.bytes)).toBe(await sha256(one.bytes))
})

test('V3: what an accepted contribution could not carry comes with the next of its fragment', async () => {
  const { turn, publish, replica } = await table()
  const one = await turn(lease(1), publish(first))
  const delta = minus(part(first, 0), part(await engine.getParameters(), 0))
  const rest = minus(delta, CODECS.int8.decode(one.bytes, delta.length))
  replica.settle(accepted('lease-10000'))
  // Two rounds later, from the same base and without a step in between: the same, and what was left.
  const carried = CODECS.int8.decode(await replica.contribution(lease(3)), rest.length)
  const wanted = delta.map((value, i) => value + (rest[i] ?? 0))
  const largest = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
  expect(apart(carried, wanted)).toBeLessThanOrEqual(largest / 240)
})

test('V6: moments and error feedback are there again after a reload, parameters are not', async () => {
  const { turn, publish, replica } = await table()
  await turn(lease(1), publish(first))
  replica.settle(accepted('lease-10000'))
  const { updates } = await engine.getOptimiserState()
  await forgetMoments()
  await expect
    .poll(async () => {
      const reloaded = await LocalReplica.open(engine, run, new GlobalWeights())
      expect(reloaded.after).toBeNull()
      return (await engine.getOptimiserState()).updates
    })
    .toBe(updates)
})
