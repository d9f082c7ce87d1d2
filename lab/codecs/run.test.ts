import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CODECS } from '../../shared/codec/codec.ts'
import { fragments, parameterCount } from '../../shared/model/layout.ts'
import { randomFrom } from '../../shared/model/random.ts'
import { type Corpus, openLeases } from '../common/corpus.ts'
import { merge, startFragments, wholeModel } from './globalModel.ts'
import { adopt, type Checkpoint, contribute, startReplica, trainReplica } from './replica.ts'
import { type Bench, openBench, simulate, warmUp } from './run.ts'
import { type Cell, QUICK, type Settings } from './settings.ts'

const SETTINGS: Settings = {
  ...QUICK,
  replicas: 1,
  synchronisations: 3,
  warmSteps: 4,
  outerLearningRate: 1,
  outerMomentum: 0,
}
const { model } = SETTINGS
const F32: Cell = { codec: 'f32', decay: 0, fragments: 1, overlap: false, outer: 'nesterov', twin: false }
const SEQUENCE = model.sequenceLength + 1

/** Two shards of random ids; each sequence's first two ids are its number, to know it again. */
function randomCorpus(sizes: readonly number[]): Corpus {
  const uniform = randomFrom('corpus')
  const tokens = (sequences: number, from: number) => {
    const ids = Uint16Array.from({ length: sequences * SEQUENCE }, () =>
      Math.floor(uniform() * model.vocabSize),
    )
    for (let s = 0; s < sequences; s++) {
      ids[s * SEQUENCE] = Math.floor((from + s) / 256)
      ids[s * SEQUENCE + 1] = (from + s) % 256
    }
    return ids
  }
  let from = 0
  const shards = sizes.map((size) => {
    from += size
    return tokens(size, from - size)
  })
  const training = sizes.map((sequences) => ({ hash: '0'.repeat(64), sequences }))
  const manifest = { training, sequenceLength: model.sequenceLength }
  return { manifest, shards: new Map(shards.entries()), heldOut: tokens(8, 0) }
}

/** ‖a − b‖ / ‖b‖ */
function distance(a: Float32Array, b: Float32Array): number {
  const difference = a.map((value, i) => value - (b[i] as number)) // of one length
  return Math.hypot(...difference) / Math.hypot(...b)
}

const numbersOf = (tokens: Uint16Array) =>
  Array.from({ length: tokens.length / SEQUENCE }, (_, s) => {
    const [high = 0, low = 0] = tokens.subarray(s * SEQUENCE)
    return 256 * high + low
  })

describe('leases', () => {
  it('[S6] name every sequence once in an epoch, and all of them', () => {
    const lease = openLeases(randomCorpus([37, 23]), 'a', 0)
    const epoch = [7, 20, 20, 13].flatMap((count) => numbersOf(lease(count)))
    expect(epoch.sort((a, b) => a - b)).toEqual(Array.from({ length: 60 }, (_, i) => i))
  })

  it('[S6] go on after what is taken already, and into the next epoch', () => {
    const corpus = randomCorpus([37, 23])
    const whole = openLeases(corpus, 'a', 0)
    const [before, after] = [numbersOf(whole(50)), numbersOf(whole(20))]
    expect(numbersOf(openLeases(corpus, 'a', 50)(20))).toEqual(after)
    expect(new Set([...before, ...after.slice(0, 10)]).size).toBe(60)
    expect(numbersOf(openLeases(corpus, 'b', 0)(50))).not.toEqual(before)
  })
})

describe('a simulated run', () => {
  let bench: Bench
  let warm: Checkpoint
  beforeAll(async () => {
    bench = await openBench(SETTINGS, randomCorpus([400, 400]))
    warm = await warmUp(bench, 'a')
  })
  afterAll(() => {
    for (const engine of [...bench.engines, bench.judge]) engine.dispose()
  })
  const engineOf = () => bench.engines[0] ?? bench.judge
  const job = (steps: number, firstStep: number, sequences: Uint16Array) => ({
    steps,
    batchSize: SETTINGS.batchSize,
    firstStep,
    totalSteps: 28, // 4 warm ones and 3 × 8
    peakLearningRate: SETTINGS.innerLearningRate,
    sequences,
  })

  it('[S8] in f32, of one replica, with outer rate 1 and no momentum, is training alone', async () => {
    await simulate(bench, F32, 'a', warm)
    const simulated = await bench.judge.getParameters() // θ̂, last evaluated
    const alone = startReplica(engineOf(), warm, fragments(model, 1))
    const lease = openLeases(bench.corpus, 'a', 4 * SETTINGS.batchSize)
    await trainReplica(alone, job(24, 4, lease(24 * SETTINGS.batchSize)))
    const trained = await engineOf().getParameters()
    expect(distance(warm.parameters, trained)).toBeGreaterThan(0.05) // so that nearness says something
    expect(distance(simulated, trained)).toBeLessThan(1e-5)
  })

  // θ̂ − Δ is rounded twice, once in Δ and once in the sum, so a few bits may differ between the two ways.
  it('[S3, S8] with overlap keeps the steps made meanwhile: alone, it is training alone too', async () => {
    await simulate(bench, { ...F32, overlap: true }, 'a', warm)
    const overlapped = await bench.judge.getParameters()
    await simulate(bench, F32, 'a', warm)
    expect(distance(overlapped, await bench.judge.getParameters())).toBeLessThan(1e-5)
  })

  it('[S1] in four fragments sends each parameter as often as whole', async () => {
    const whole = await simulate(bench, F32, 'a', warm)
    const parts = await simulate(bench, { ...F32, fragments: 4 }, 'a', warm)
    expect(whole.bytesUp).toBe(3 * 4 * parameterCount(model)) // three times four bytes
    expect(parts.bytesUp).toBe(whole.bytesUp)
  })

  it('[S5] downloads int8 beside a lossy uplink and f32 beside f32', async () => {
    const blocks = Math.ceil(parameterCount(model) / 256)
    const int8 = 3 * (parameterCount(model) + 2 * blocks)
    const int4 = await simulate(bench, { ...F32, codec: 'int4', decay: 1 }, 'a', warm)
    expect(int4.bytesDown).toBe(int8)
    expect(int4.bytesUp).toBeLessThan(0.51 * int8)
    const f32 = await simulate(bench, F32, 'a', warm)
    expect(f32.bytesDown).toBe(f32.bytesUp)
  })

  it('[S6, S7] comes out the same when it is run again, and a twin a little away', async () => {
    const cell: Cell = { ...F32, codec: 'int4', decay: 0.95, fragments: 4, overlap: true }
    const { valLoss } = await simulate(bench, cell, 'a', warm)
    expect((await simulate(bench, cell, 'a', warm)).valLoss).toBe(valLoss)
    const twin = await simulate(bench, { ...cell, twin: true }, 'a', warm)
    expect(twin.valLoss).not.toBe(valLoss)
    expect(twin.valLoss).toBeCloseTo(valLoss, 2)
  })

  it('[S2] weighs a contribution by the tokens since the last to the same fragment', async () => {
    const replica = startReplica(engineOf(), warm, fragments(model, 2))
    const lease = openLeases(bench.corpus, 'a', 0)
    const train = (steps: number) => trainReplica(replica, job(steps, 4, lease(steps * SETTINGS.batchSize)))
    const [first, second] = replica.tracks
    if (first === undefined || second === undefined) throw new Error('there are two fragments')
    const weights = []
    for (const track of [first, second, first]) {
      await train(2)
      weights.push((await contribute(track, engineOf(), CODECS.f32, 0)).weight)
    }
    // A step is 4 × 16 tokens: two steps, then four, then four.
    expect(weights).toEqual([128, 256, 256])
  })

  it('[S4] sends in the end what was left out: with decay 1 sent and residual add up to the differences', async () => {
    const replica = startReplica(engineOf(), warm, fragments(model, 1))
    const [track] = replica.tracks
    if (track === undefined) throw new Error('there is a fragment')
    const lease = openLeases(bench.corpus, 'a', 0)
    const total = new Float64Array(parameterCount(model))
    for (let round = 0; round < 3; round++) {
      await trainReplica(replica, job(2, 4, lease(2 * SETTINGS.batchSize)))
      const { bytes, mark } = await contribute(track, engineOf(), CODECS.sparse, 1)
      const sent = CODECS.sparse.decode(bytes, total.length)
      for (let i = 0; i < total.length; i++) {
        total[i] = (total[i] ?? 0) + (sent[i] ?? 0) - ((track.base[i] ?? 0) - (mark[i] ?? 0))
      }
    }
    const left = track.residual.map((residual, i) => residual + (total[i] ?? 0))
    expect(Math.max(...left.map(Math.abs))).toBeLessThan(1e-6)
    expect(Math.max(...track.residual.map(Math.abs))).toBeGreaterThan(1e-3)
  })

  it('[S3] adopts the merged values and keeps what was trained since the mark', async () => {
    const [ranges = []] = fragments(model, 4)
    const replica = startReplica(engineOf(), warm, fragments(model, 4))
    const [track] = replica.tracks
    if (track === undefined) throw new Error('there are four fragments')
    const local = await engineOf().getParameters(ranges)
    engineOf().setParameters(
      local.map((value) => value + 0.25),
      ranges,
    )
    await adopt(track, engineOf(), new Float32Array(local.length).fill(2), local)
    const values = await engineOf().getParameters(ranges)
    expect(Math.max(...values.map((value) => Math.abs(value - 2.25)))).toBeLessThan(1e-6)
    expect(track.base).toEqual(new Float32Array(local.length).fill(2))
  })
})

describe('the global model', () => {
  it('[S5] feeds the rounding of its delta back: θ̂ stays within one rounding of θ', () => {
    const parameters = new Float32Array(parameterCount(model))
    const cut = fragments(model, 4)
    const global = startFragments(parameters, cut)
    const uniform = randomFrom('rounding')
    for (let round = 0; round < 20; round++) {
      const fragment = global[round % 4]
      if (fragment === undefined) throw new Error('there are four fragments')
      const values = fragment.exact.map(() => uniform() - 0.5)
      const contribution = { bytes: CODECS.f32.encode(values), weight: 1, mark: values }
      const outer = { learningRate: 0.1, momentum: 0 }
      merge(fragment, [contribution], { uplink: CODECS.f32, downlink: CODECS.int8, outer })
    }
    // A step is at most 0.05; int8 leaves a 254th of what it carries, however many steps came before.
    for (const { exact, weights } of global) {
      expect(Math.max(...exact.map((value, i) => Math.abs(value - (weights[i] ?? 0))))).toBeLessThan(
        0.06 / 254,
      )
    }
    const whole = wholeModel(global)
    cut.forEach(([first], i) => {
      expect(whole[first?.offset ?? 0]).toBe(global[i]?.weights[0])
    })
  })
})
