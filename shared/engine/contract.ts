/**
 * What every engine must do, on every backend, as tests: `engineContract(name, open)` registers them. Numbers to
 * compare with come from reference.ts (f64) or are worked by hand. Tolerances: an f32 forward pass of this size
 * agrees with f64 to about 1e-6 relative, and a GPU's exp and rsqrt are allowed a few units in the last place, so
 * 2e-5 leaves room for those and none for a wrong formula, which is off by 1e-2 or more.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CODEC_NAMES, CODECS } from '../codec/codec.ts'
import type { ModelConfig } from '../model/config.ts'
import { initialParameters } from '../model/initial.ts'
import { fragments, type ParameterRange, parameterCount } from '../model/layout.ts'
import { randomFrom } from '../model/random.ts'
import type { Engine, Snapshot, TrainJob, TrainProgress } from './engine.ts'
import { referenceGradient, referenceLosses, referenceNext, referenceTrain } from './reference.ts'

/** Odd sizes on purpose: nothing is a power of two or a multiple of four but what must be even. */
export const TINY: ModelConfig = {
  vocabSize: 97,
  layers: 2,
  heads: 3,
  dModel: 24,
  headDim: 8,
  hidden: 64,
  sequenceLength: 7,
}

const RELATIVE = 2e-5

/** Initial weights times ten, so that attention and gates are away from their linear beginnings. */
export function tinyParameters(): Float32Array<ArrayBuffer> {
  return initialParameters(TINY, 'contract').map((value) => (value === 1 ? 1 : value * 10))
}

export function randomSequences(config: ModelConfig, count: number, seed: string): Uint16Array {
  const uniform = randomFrom(seed)
  const length = count * (config.sequenceLength + 1)
  return Uint16Array.from({ length }, () => Math.floor(uniform() * config.vocabSize))
}

function tinyJob(steps: number, change: Partial<TrainJob> = {}): TrainJob {
  const batchSize = change.batchSize ?? 2
  const sequences = randomSequences(TINY, steps * batchSize, 'job')
  return { sequences, steps, batchSize, firstStep: 3, totalSteps: 20, peakLearningRate: 0.01, ...change }
}

/** ‖a − b‖ / ‖b‖ */
function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [difference, size] = [0, 0]
  for (let i = 0; i < b.length; i++) {
    difference += ((a[i] as number) - (b[i] as number)) ** 2
    size += (b[i] as number) ** 2
  }
  return Math.sqrt(difference / size)
}

/** The least model there is. What it does not write with, is zero; its queries and keys cannot matter to one token. */
const BY_HAND: ModelConfig = {
  vocabSize: 2,
  layers: 1,
  heads: 1,
  dModel: 2,
  headDim: 2,
  hidden: 2,
  sequenceLength: 1,
}
const BY_HAND_PARAMETERS = Float32Array.of(
  ...[1, -1, -1, 1], // embedding
  ...[1, 1], // norm before attention
  ...[2, 0, 0, 2], // queries
  ...[2, 0, 0, 2], // keys
  ...[0, 0, 0, 0], // values
  ...[1, 1, 1, 1], // norms of queries and keys
  ...[0, 0, 0, 0], // out
  ...[1, 1], // norm before SwiGLU
  ...[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], // gate, up, down
  ...[1, 1], // final norm
)

const minus = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Array.from(a, (value, i) => value - (b[i] as number))

const inRange = (all: Float32Array, { offset, size }: ParameterRange) => all.subarray(offset, offset + size)

const largest = (values: Float32Array) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0)

function expectClose(got: Float32Array, wanted: readonly number[], digits: number): void {
  expect(got).toHaveLength(wanted.length)
  for (const [i, value] of wanted.entries()) expect(got[i]).toBeCloseTo(value, digits)
}

export function engineContract(name: string, open: (config: ModelConfig) => Promise<Engine>): void {
  describe(name, () => {
    let engine: Engine
    beforeAll(async () => {
      engine = await open(TINY)
    }, 60_000)
    afterAll(() => engine.dispose())

    // An engine in a Worker answers with promises where the interface says nothing: await both kinds.
    const reset = async () => {
      const zeros = () => new Float32Array(parameterCount(TINY))
      await engine.setParameters(tinyParameters())
      await engine.setOptimiserState({ firstMoment: zeros(), secondMoment: zeros(), updates: 0 })
    }

    test('gives parameters and optimiser state back as they were set', async () => {
      const count = parameterCount(TINY)
      const ramp = (factor: number) => Float32Array.from({ length: count }, (_, i) => i * factor)
      await engine.setParameters(ramp(0.5))
      await engine.setOptimiserState({ firstMoment: ramp(2), secondMoment: ramp(3), updates: 41 })
      expect(await engine.getParameters()).toEqual(ramp(0.5))
      expect(await engine.getOptimiserState()).toEqual({
        firstMoment: ramp(2),
        secondMoment: ramp(3),
        updates: 41,
      })
    })

    test('reads and writes one fragment and leaves the others alone', async () => {
      await reset()
      const [first = [], second = []] = fragments(TINY, 2)
      const whole = tinyParameters()
      const pick = (all: Float32Array, ranges: readonly ParameterRange[]) =>
        ranges.flatMap(({ offset, size }) => Array.from(all.subarray(offset, offset + size)))
      expect(Array.from(await engine.getParameters(second))).toEqual(pick(whole, second))
      // A fragment's ranges need not be whole tensors either.
      const inside = [{ offset: 5, size: 3 }, ...second, { offset: parameterCount(TINY) - 2, size: 1 }]
      const ramp = Float32Array.from(pick(whole, inside), (_, i) => i)
      await engine.setParameters(ramp, inside)
      expect(await engine.getParameters(inside)).toEqual(ramp)
      const after = await engine.getParameters()
      for (const [i, { offset, size }] of inside.entries()) {
        const at = inside.slice(0, i).reduce((sum, range) => sum + range.size, 0)
        whole.set(ramp.subarray(at, at + size), offset)
      }
      expect(after).toEqual(whole)
      expect(Array.from(await engine.getParameters(first))).toEqual(pick(whole, first))
      const bad = { code: 'engine/bad-job' }
      const beyond = [{ offset: parameterCount(TINY) - 1, size: 2 }]
      await expect((async () => engine.getParameters(beyond))()).rejects.toMatchObject(bad)
      await expect((async () => engine.setParameters(ramp, second))()).rejects.toMatchObject(bad)
    })

    // The sums are made in another order: f32 differs in the last digits, and AdamW's division makes that larger
    // where a gradient is near zero.
    test('micro-batches add up to the batch', async () => {
      const job = tinyJob(1, { batchSize: 4 })
      const results = []
      for (const microBatch of [4, 2, 1]) {
        await reset()
        const { meanLoss } = await engine.train({ ...job, microBatch })
        results.push({ meanLoss, moments: (await engine.getOptimiserState()).firstMoment })
      }
      const [whole, ...parts] = results
      for (const { meanLoss, moments } of parts) {
        expect(Math.abs(meanLoss / (whole?.meanLoss ?? 0) - 1)).toBeLessThan(2e-6)
        expect(distance(moments, whole?.moments ?? [])).toBeLessThan(RELATIVE)
      }
      await expect(engine.train({ ...job, microBatch: 3 })).rejects.toMatchObject({ code: 'engine/bad-job' })
    })

    test('the learning rate follows the global step: twice as far where the warm-up is twice as high', async () => {
      const moved = []
      for (const firstStep of [0, 1]) {
        await reset()
        await engine.train(tinyJob(1, { firstStep })) // warm-up of 2 steps: rates 0.005 and 0.01
        moved.push(minus(await engine.getParameters(), tinyParameters()))
      }
      const [near = [], far = []] = moved
      expect(Math.hypot(...far) / Math.hypot(...near)).toBeCloseTo(2, 2)
    })

    test('a snapshot is enough to go on from in mid-job', async () => {
      await reset()
      const job = tinyJob(6)
      const snapshots: Snapshot[] = []
      await engine.train(job, { snapshot: (s) => void snapshots.push(s), snapshotSeconds: 1e-9 })
      const wanted = await engine.getParameters()
      const [first] = snapshots
      if (first === undefined) throw new Error('no snapshot was made')
      const { soFar, parameters, optimiser } = first
      expect(soFar).toMatchObject({ tokens: soFar.steps * 14 })
      expect(optimiser.updates).toBe(soFar.steps)
      await engine.setParameters(parameters)
      await engine.setOptimiserState(optimiser)
      const rest = { steps: 6 - soFar.steps, firstStep: job.firstStep + soFar.steps }
      await engine.train({ ...job, ...rest, sequences: job.sequences.subarray(soFar.steps * 16) })
      expect(distance(await engine.getParameters(), wanted)).toBeLessThan(1e-6)
    })

    test('evaluates as the f64 reference does, whatever the number of sequences', async () => {
      await reset()
      // More than one chunk and a short last one, of 80 as of 76. Shaders are made for each number of sequences.
      const sequences = randomSequences(TINY, 80, 'evaluate')
      const { nats, tokens } = await engine.evaluate(sequences)
      expect(tokens).toBe(80 * 7)
      const some = sequences.subarray(0, 4 * 8)
      const expected = referenceLosses(TINY, tinyParameters(), some).reduce((sum, x) => sum + x)
      const fewer = await engine.evaluate(some)
      expect(Math.abs(fewer.nats / expected - 1)).toBeLessThan(RELATIVE)
      const rest = await engine.evaluate(sequences.subarray(4 * 8))
      expect(Math.abs((fewer.nats + rest.nats) / nats - 1)).toBeLessThan(1e-6)
      expect(await engine.evaluate(new Uint16Array(0))).toEqual({ nats: 0, tokens: 0 })
    })

    test('tells the loss of every token as the f64 reference does', async () => {
      await reset()
      const sequences = randomSequences(TINY, 75, 'token losses')
      const losses = await engine.tokenLosses(sequences)
      const expected = referenceLosses(TINY, tinyParameters(), sequences)
      expect(losses).toHaveLength(75 * 7)
      const largest = Math.max(...expected)
      for (const [i, loss] of expected.entries())
        expect(Math.abs((losses[i] ?? Number.NaN) - loss)).toBeLessThan(RELATIVE * largest)
      await expect((async () => engine.tokenLosses(sequences.subarray(1)))()).rejects.toMatchObject({
        code: 'engine/bad-job',
      })
    })

    test('the first step has the reference loss, and its moments are the clipped reference gradient', async () => {
      await reset()
      const job = tinyJob(1)
      const result = await engine.train(job)
      const { loss, gradient } = referenceGradient(TINY, tinyParameters(), job.sequences)
      expect(Math.abs(result.meanLoss / loss - 1)).toBeLessThan(RELATIVE)
      expect(Math.hypot(...gradient)).toBeGreaterThan(1) // so that the clipping is seen at work
      const { first, second } = referenceTrain(TINY, tinyParameters(), job)
      const state = await engine.getOptimiserState()
      expect(state.updates).toBe(1)
      expect(distance(state.firstMoment, first)).toBeLessThan(RELATIVE)
      expect(distance(state.secondMoment, second)).toBeLessThan(2 * RELATIVE)
    })

    // Adam divides by √v, so where a gradient is no larger than f32's noise the direction of its update is noise
    // too. Few elements are like that, hence a looser bound on the norm of the whole difference.
    test.each([1, 5])('parameters after %i steps move as in the reference AdamW', async (steps) => {
      await reset()
      const job = tinyJob(steps)
      const result = await engine.train(job)
      const expected = referenceTrain(TINY, tinyParameters(), job)
      const moved = minus(await engine.getParameters(), tinyParameters())
      expect(distance(moved, minus(expected.parameters, tinyParameters()))).toBeLessThan(2e-3)
      const mean = expected.losses.reduce((sum, x) => sum + x) / steps
      expect(Math.abs(result.meanLoss / mean - 1)).toBeLessThan(RELATIVE)
      expect(result).toMatchObject({ steps, tokens: steps * 2 * 7 })
    })

    // 0 and 1 are embedded as (1, −1) and (−1, 1), which the norms leave as they are, and no block writes anything. After
    // a 0 the logits are 2 and −2: p = 0.98201379, 0.01798621, logsumexp = 2.01814993. The targets are one 1 and one
    // 0, so dlogits add up to p·(1 + 2e-4·logsumexp) − 1/2 = 0.48241016, −0.48200653. Times ±1 those are the embedding's
    // gradients, their difference 0.96441669 is that of each final gain, and all others are zero. The norm is 1.670419
    // and is clipped; a first update is the rate, and a tenth of it from a fresh optimiser; T is 20.
    test.each([
      [0, 0.01], // half-way through a warm-up of two steps to 0.2
      [1, 0.02],
      [11, 0.0105], // half-way down the cosine to 0.01
    ])('global step %i in literal numbers, at once and in micro-batches', async (firstStep, rate) => {
      const other = await open(BY_HAND)
      try {
        for (const microBatch of [2, 1]) {
          await other.setParameters(BY_HAND_PARAMETERS)
          const zeros = () => new Float32Array(BY_HAND_PARAMETERS.length)
          await other.setOptimiserState({ firstMoment: zeros(), secondMoment: zeros(), updates: 0 })
          const sequences = Uint16Array.of(0, 1, 0, 0)
          const schedule = { firstStep, totalSteps: 20, peakLearningRate: 0.2 }
          const job = { sequences, steps: 1, batchSize: 2, microBatch, ...schedule }
          expect((await other.train(job)).meanLoss).toBeCloseTo(2.01814993, 5)
          const { firstMoment } = await other.getOptimiserState()
          const [zero, one, gain] = [0.02887959, -0.02885543, 0.05773503]
          const moments = [zero, -zero, one, -one, ...Array<number>(36).fill(0), gain, gain]
          expectClose(firstMoment, moments, 6)
          const decayed = BY_HAND_PARAMETERS.map((value) => value * (1 - rate / 20))
          const signs = moments.map(Math.sign)
          expectClose(
            await other.getParameters(),
            Array.from(decayed, (value, i) => value - rate * (signs[i] ?? Number.NaN)),
            6,
          )
        }
      } finally {
        await other.dispose()
      }
    })

    test('learns one batch by heart', async () => {
      await reset()
      const batch = randomSequences(TINY, 4, 'by heart')
      const sequences = new Uint16Array(20 * batch.length)
      for (let step = 0; step < 20; step++) sequences.set(batch, step * batch.length)
      const before = await engine.evaluate(batch)
      await engine.train(
        tinyJob(20, { sequences, batchSize: 4, totalSteps: 20, firstStep: 0, peakLearningRate: 0.02 }),
      )
      const after = await engine.evaluate(batch)
      expect(before.nats / before.tokens).toBeGreaterThan(4)
      expect(after.nats / after.tokens).toBeLessThan(0.5)
    })

    test('a replica restored from parameters and state goes on as if never stopped', async () => {
      await reset()
      const whole = tinyJob(6)
      await engine.train({ ...whole, steps: 3, sequences: whole.sequences.subarray(0, 3 * 2 * 8) })
      const [parameters, state] = [await engine.getParameters(), await engine.getOptimiserState()]
      const rest = { ...whole, steps: 3, firstStep: 6, sequences: whole.sequences.subarray(3 * 2 * 8) }
      await engine.train(rest)
      const wanted = await engine.getParameters()
      await reset()
      await engine.setParameters(parameters)
      await engine.setOptimiserState(state)
      await engine.train(rest)
      expect(distance(await engine.getParameters(), wanted)).toBeLessThan(1e-6)
    })

    test('evaluation and generation leave parameters and state alone', async () => {
      await reset()
      await engine.evaluate(randomSequences(TINY, 4, 'quiet'))
      await engine.generate([1, 2], { tokens: 2, temperature: 1, topK: 0, seed: 'quiet' })
      expect(await engine.getParameters()).toEqual(tinyParameters())
      expect((await engine.getOptimiserState()).updates).toBe(0)
    })

    test('generates the likeliest continuation at temperature 0, past the context length too', async () => {
      await reset()
      const prompt = [5, 9, 2]
      const next = (all: number[]) => referenceNext(TINY, tinyParameters(), all.slice(-TINY.sequenceLength))
      const ids = await engine.generate(prompt, { tokens: 9, temperature: 0, topK: 0, seed: 'a' })
      expect(ids).toHaveLength(12)
      expect(ids.slice(0, 3)).toEqual(prompt)
      for (let length = 3; length < 12; length++) expect(ids[length]).toBe(next(ids.slice(0, length)))
    })

    test('generates the same ids from the same seed and others from another', async () => {
      await reset()
      const options = { tokens: 20, temperature: 2, topK: 50, seed: 'a' }
      const ids = await engine.generate([7], options)
      expect(await engine.generate([7], options)).toEqual(ids)
      expect(await engine.generate([7], { ...options, seed: 'b' })).not.toEqual(ids)
    })

    test('reports progress and ends with the last step', async () => {
      await reset()
      const seen: TrainProgress[] = []
      await engine.train(tinyJob(4), { progress: (progress) => void seen.push(progress) })
      expect(seen.at(-1)).toMatchObject({ step: 4, steps: 4 })
      expect(seen.every(({ loss, tokensPerSecond }) => loss > 0 && tokensPerSecond > 0)).toBe(true)
    })

    test('stop ends the job early with what was done', async () => {
      await reset()
      const result = await engine.train(tinyJob(500), { progress: () => void engine.stop() })
      expect(result.steps).toBeGreaterThan(0)
      expect(result.steps).toBeLessThan(500)
      expect((await engine.getOptimiserState()).updates).toBe(result.steps)
    })

    test('pause holds the job until resume, and stop ends a paused job', async () => {
      await reset()
      await engine.pause()
      let done = false
      const job = engine.train(tinyJob(2)).finally(() => {
        done = true
      })
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setTimeout(resolve))
      expect(done).toBe(false)
      expect((await engine.getOptimiserState()).updates).toBe(0)
      await engine.resume()
      expect((await job).steps).toBe(2)
      await engine.pause()
      const stopped = engine.train(tinyJob(2))
      await new Promise((resolve) => setTimeout(resolve))
      await engine.stop()
      expect(await stopped).toMatchObject({ steps: 0, tokens: 0, meanLoss: 0 })
      await engine.resume()
    })

    test('refuses jobs whose sizes disagree, ids outside the vocabulary, and a second job at once', async () => {
      await reset()
      const bad = { code: 'engine/bad-job' }
      await expect(engine.train({ ...tinyJob(2), steps: 3 })).rejects.toMatchObject(bad)
      await expect(engine.train({ ...tinyJob(2), batchSize: 0 })).rejects.toMatchObject(bad)
      await expect(
        engine.train({ ...tinyJob(2), sequences: new Uint16Array(32).fill(97) }),
      ).rejects.toMatchObject(bad)
      await expect(engine.evaluate(new Uint16Array(9))).rejects.toMatchObject(bad)
      await expect(
        engine.generate([], { tokens: 1, temperature: 0, topK: 0, seed: '' }),
      ).rejects.toMatchObject(bad)
      await expect((async () => engine.setParameters(new Float32Array(3)))()).rejects.toMatchObject(bad)
      await engine.pause() // or the first job may be over before the second arrives
      const running = engine.train(tinyJob(2))
      await expect(engine.train(tinyJob(2))).rejects.toMatchObject(bad)
      await engine.resume()
      await running
    })

    describe.each(CODEC_NAMES)('a contribution by %s', (codec) => {
      const { byteLength, decode, encode } = CODECS[codec]
      const fragment = [{ offset: 5, size: 700 }, ...(fragments(TINY, 2)[1] ?? [])]
      const pick = (all: Float32Array) => Float32Array.from(fragment.flatMap((r) => [...inRange(all, r)]))

      test('is base − parameters + residual, and the rest of it is the residual', async () => {
        await reset()
        const uniform = randomFrom('residual')
        const residual = tinyParameters().map(() => (uniform() - 0.5) / 1_000)
        await engine.setResidual(residual)
        await engine.train(tinyJob(3))
        const local = pick(await engine.getParameters())
        const base = pick(tinyParameters())
        const before = pick(residual)
        const delta = base.map((value, i) => value - (local[i] as number))
        const wanted = delta.map((value, i) => value + (before[i] as number))
        const request = { codec, fragment, base: tinyParameters(), decay: 1 }
        const bytes = await engine.contribution(request)
        expect(bytes).toHaveLength(byteLength(wanted.length))
        const sent = decode(bytes, wanted.length)
        // To the step that the codec on the host takes, or where that is a close call the next one.
        const step = { f32: 0, f16: 0, sparse: 0, int8: 1 / 127, int4: 1 / 7 }[codec] * largest(wanted)
        const host = decode(encode(wanted), wanted.length)
        const apart = sent.map((value, i) => Math.abs(value - (host[i] as number)))
        expect(largest(apart)).toBeLessThanOrEqual(1.01 * step)
        expect(apart.filter((by) => by > 0).length).toBeLessThan(0.002 * wanted.length)
        const left = await engine.getResidual(fragment)
        const error = left.map((value, i) => value - ((wanted[i] as number) - (sent[i] as number)))
        expect(largest(error)).toBeLessThan(1e-6 * largest(wanted))
        const outside = await engine.getResidual()
        expect(outside.subarray(0, 5)).toEqual(residual.subarray(0, 5))

        // With nothing trained in between and half of the residual, from the next contribution.
        const again = await engine.contribution({ ...request, decay: 0.5 })
        const next = delta.map((value, i) => value + (left[i] as number) / 2)
        const others = encode(next)
        const differ = again.filter((byte, i) => byte !== others[i]).length
        expect(differ).toBeLessThan(0.01 * others.length)
      })

      test('with a number that cannot be sent is refused', async () => {
        await reset()
        await engine.setResidual(tinyParameters().fill(Number.POSITIVE_INFINITY, 800, 801))
        const whole = [{ offset: 0, size: parameterCount(TINY) }]
        const request = { codec, fragment: whole, base: tinyParameters(), decay: 1 }
        await expect(engine.contribution(request)).rejects.toMatchObject({ code: 'engine/not-finite' })
        await engine.setResidual(new Float32Array(parameterCount(TINY)))
        expect(await engine.contribution(request)).toEqual(encode(new Float32Array(parameterCount(TINY))))
      })
    })

    test('says so when the loss is no number', async () => {
      await reset()
      await engine.setParameters(tinyParameters().fill(Number.NaN, 0, 24))
      const job = tinyJob(1, { sequences: new Uint16Array(16) })
      await expect(engine.train(job)).rejects.toMatchObject({ code: 'engine/not-finite' })
    })
  })
}
