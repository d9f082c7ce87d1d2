/**
 * Numeric proof of an engine, as tests: `numerics(name, subject)` compares logits, loss, the gradient of every tensor and
 * the parameters after twenty steps with the f64 reference, at sizes where a backend may be wrong in its own way. What an
 * engine does besides computing is contract.ts's.
 */
import { afterAll, beforeAll, describe, expect, type TestContext, test } from 'vitest'
import type { ModelConfig } from '../model/config.ts'
import { initialParameters } from '../model/initial.ts'
import { parameterCount, parameterLayout } from '../model/layout.ts'
import { randomFrom } from '../model/random.ts'
import { randomSequences } from './contract.ts'
import type { Engine, TrainJob } from './engine.ts'
import {
  referenceClip,
  referenceGradient,
  referenceLogits,
  referenceLoss,
  referenceTrain,
} from './reference.ts'
import {
  attend,
  attendBackward,
  type Matrix,
  matrix,
  multiply,
  multiplyTransposed,
  sumProducts,
} from './referenceMatrix.ts'

/**
 * Bounds on the relative distance ‖got − wanted‖/‖wanted‖, about seven times the largest error that was measured on
 * any backend: 9e-7 in logits, 4e-7 in the loss, 3e-6 in the gradient of a tensor, which is f32's 6e-8 through two
 * passes of sums. A GPU may err by a few units in the last place of exp and rsqrt; a wrong sign, a missing term or a
 * misplaced row is off by 1e-2 and more, a missing z-loss by 1e-3.
 */
const TOLERANCE = {
  logits: 6e-6,
  loss: 2e-6,
  gradient: 2e-5,
  /**
   * The same for θ₂₀ − θ₀, measured at 8e-6. Looser, because Adam divides by √v: where a gradient is no larger than the
   * noise of its f32 sum, the direction of its update is noise at full size, and twenty steps add up and feed back.
   */
  movement: 6e-5,
}
/**
 * The same with states in f16, whose rounding, up to 2⁻¹¹ = 5e-4 and 3e-4 on the mean, is four thousand times that of f32. A
 * dozen stores lie between the ids and a gradient of one layer, so that two layers give √24 · 3e-4 = 1.5e-3 where nothing
 * cancels; more in a softmax's gradient, where most does.
 */
export const F16_TOLERANCE: typeof TOLERANCE = { logits: 5e-3, loss: 1e-3, gradient: 2e-2, movement: 1e-1 }
/**
 * For sums over 65,600 rows in f32. The targets are random, so most of what the rows add cancels, and rounding weighs
 * a hundred times more against what is left: measured 3e-5 on wasm, which adds one after another.
 */
const LONG_SUM_TOLERANCE = 2e-4

interface Case {
  readonly config: ModelConfig
  /** Sequences in a batch. */
  readonly batchSize: number
  readonly microBatch?: number
}

/** Logits, a training pass and a training of twenty steps are compared at these. */
const SHAPES = {
  'sizes in multiples of 32': {
    config: { vocabSize: 128, layers: 2, heads: 1, dModel: 32, headDim: 32, hidden: 128, sequenceLength: 32 },
    batchSize: 1,
  },
  // No size is a multiple of 4: no fast path of a matrix product fits, and every tile has an edge.
  'odd sizes and a prime vocabulary': {
    config: { vocabSize: 53, layers: 2, heads: 3, dModel: 30, headDim: 10, hidden: 37, sequenceLength: 21 },
    batchSize: 2,
  },
} as const satisfies Record<string, Case>

/** A training pass is compared at these. */
const PASSES = {
  'a batch in micro-batches': { ...SHAPES['odd sizes and a prime vocabulary'], microBatch: 1 },
  'one sequence of one token': {
    config: { vocabSize: 31, layers: 2, heads: 3, dModel: 24, headDim: 8, hidden: 64, sequenceLength: 1 },
    batchSize: 1,
  },
  'a vocabulary of 32,768': {
    config: { vocabSize: 32_768, layers: 1, heads: 1, dModel: 8, headDim: 8, hidden: 64, sequenceLength: 9 },
    batchSize: 1,
  },
  // 65,792 rows of scores: one webgpu softmax gets 65,535 right (defects.browser.test.ts).
  'more than 65,535 rows of attention scores': {
    config: { vocabSize: 7, layers: 1, heads: 16, dModel: 64, headDim: 4, hidden: 5, sequenceLength: 16 },
    batchSize: 257,
  },
} satisfies Record<string, Case>

/** Attention alone at as many rows, and the output layer with its loss: there a single wrong row shows. */
const ATTENTION = { heads: 4_100, length: 16, dim: 4 }
const OUTPUT = { rows: 65_600, width: 4, vocabulary: 7 }

const STEPS = 20
/** SwiftShader on a busy machine. */
const TIMEOUT = 240_000

/** An engine where it is tested, and those of its parts that are compared alone. */
export interface Subject {
  open(config: ModelConfig): Promise<Engine>
  /** Of every position of whole sequences of ids without last targets: [ids, V]. */
  logits(config: ModelConfig, parameters: Float32Array, ids: readonly number[]): Promise<Float32Array>
  /** Matrices are [heads·length, dim]. */
  attention(inputs: AttentionInputs): Promise<Record<'merged' | 'dq' | 'dk' | 'dv', Float32Array>>
  output(inputs: OutputInputs): Promise<OutputResults>
  /** Default: f32's. */
  readonly tolerance?: typeof TOLERANCE
  /** What is not run here, each with its reason; of a shape only its twenty steps are left out. */
  readonly skip?: Partial<
    Record<keyof typeof SHAPES | keyof typeof PASSES | 'attention alone' | 'output alone', string>
  >
}

export interface AttentionInputs {
  readonly heads: number
  readonly length: number
  readonly dim: number
  readonly q: Matrix
  readonly k: Matrix
  readonly v: Matrix
  /** The gradient that arrives. */
  readonly dMerged: Matrix
}

export interface OutputInputs {
  /** After the final norm, [rows, d]. */
  readonly x: Matrix
  /** [V, d] */
  readonly embedding: Matrix
  readonly targets: readonly number[]
}

export interface OutputResults {
  /** Mean cross entropy. */
  readonly loss: number
  readonly dx: Float32Array
  readonly dEmbedding: Float32Array
}

export function numerics(name: string, subject: Subject): void {
  const { open, tolerance = TOLERANCE, skip = {} } = subject
  const skipIfAsked = (label: keyof typeof skip, context: TestContext) =>
    context.skip(skip[label] !== undefined, skip[label])

  describe(`the numbers of ${name}`, { timeout: TIMEOUT }, () => {
    for (const [label, shape] of entriesOf(SHAPES)) {
      describe(label, () => {
        const { config } = shape
        let engine: Engine
        beforeAll(async () => {
          engine = await open(config)
        }, TIMEOUT)
        afterAll(() => engine.dispose())

        test('logits', async () => {
          const ids = Array.from(
            jobOf(shape, 1).sequences.subarray(0, shape.batchSize * config.sequenceLength),
          )
          const got = await subject.logits(config, startOf(config), ids)
          const wanted = referenceLogits(config, startOf(config), ids)
          expect(distance(got, wanted)).toBeLessThan(tolerance.logits)
        })

        test('loss and every gradient', () => expectPass(engine, shape, tolerance))

        test(`parameters after ${STEPS} steps`, async (context) => {
          skipIfAsked(label, context)
          const job = jobOf(shape, STEPS)
          reset(engine)
          const { meanLoss } = await engine.train(job)
          const wanted = referenceTrain(config, startOf(config), job)
          const meanWanted = wanted.losses.reduce((sum, loss) => sum + loss) / STEPS
          expect(Math.abs(meanLoss / meanWanted - 1)).toBeLessThan(tolerance.loss)
          const moved = minus(await engine.getParameters(), startOf(config))
          const wantedMove = minus(wanted.parameters, startOf(config))
          expect(distance(moved, wantedMove)).toBeLessThan(tolerance.movement)
        })
      })
    }

    test('attention alone over more than 65,535 rows', async (context) => {
      skipIfAsked('attention alone', context)
      await expectAttention(subject)
    })

    test('the output layer alone over more than 65,535 rows', async (context) => {
      skipIfAsked('output alone', context)
      await expectOutput(subject)
    })

    for (const [label, pass] of entriesOf(PASSES)) {
      test(label, async (context) => {
        skipIfAsked(label, context)
        const engine = await open(pass.config)
        try {
          await expectPass(engine, pass, tolerance)
        } finally {
          engine.dispose()
        }
      })
    }
  })
}

/** The first step's loss and gradients; from zero moments, the first moment is a tenth of the clipped gradient. */
async function expectPass(engine: Engine, pass: Case, tolerance: typeof TOLERANCE): Promise<void> {
  const { config } = pass
  const job = jobOf(pass, 1)
  reset(engine)
  const { meanLoss } = await engine.train(job)
  const { firstMoment } = await engine.getOptimiserState()
  const { loss, gradient } = referenceGradient(config, startOf(config), job.sequences)
  expect(Math.abs(meanLoss / loss - 1)).toBeLessThan(tolerance.loss)
  const factor = 0.1 * referenceClip(gradient)
  const wanted = gradient.map((g) => factor * g)
  const errors = parameterLayout(config).map(({ name, offset, size }) => {
    const part = (all: Float32Array | Float64Array) => all.subarray(offset, offset + size)
    // A gradient that is zero by nature (queries where there is one key) is measured by the whole one.
    const scale = length(part(wanted)) || length(wanted)
    return { name, error: length(minus(part(firstMoment), part(wanted))) / scale }
  })
  // Not `>`: an error that is no number is one, too.
  expect(errors.filter(({ error }) => !(error < tolerance.gradient))).toEqual([])
}

/** Every row counts: one wrong row among 65,600 is off by 4e-3. */
async function expectAttention(subject: Subject): Promise<void> {
  const { heads, length, dim } = ATTENTION
  const [q, k, v, dMerged] = ['q', 'k', 'v', 'dOut'].map((seed) =>
    randomMatrix(heads * length, dim, seed),
  ) as [Matrix, Matrix, Matrix, Matrix] // as many as seeds
  const { merged, probabilities } = attend(q, k, v, 1, length) // each head a sequence of its own
  const { dq, dk, dv } = attendBackward(dMerged, q, k, v, probabilities, 1, length)
  const got = await subject.attention({ heads, length, dim, q, k, v, dMerged })
  for (const [name, { values }] of Object.entries({ merged, dq, dk, dv })) {
    expect(distance(got[name as keyof typeof got], values)).toBeLessThan(
      (subject.tolerance ?? TOLERANCE).gradient,
    ) // the same four
  }
}

async function expectOutput(subject: Subject): Promise<void> {
  const { rows, width, vocabulary } = OUTPUT
  const [x, embedding] = [randomMatrix(rows, width, 'x'), randomMatrix(vocabulary, width, 'embedding')]
  const uniform = randomFrom('targets')
  const targets = Array.from({ length: rows }, () => Math.floor(uniform() * vocabulary))
  const wanted = referenceLoss(multiplyTransposed(x, embedding), targets)
  const dEmbedding = matrix(vocabulary, width)
  sumProducts(dEmbedding, wanted.dLogits, x)
  const got = await subject.output({ x, embedding, targets })
  const dx = multiply(wanted.dLogits, embedding).values
  expect(distance(got.dx, dx)).toBeLessThan(TOLERANCE.gradient)
  expect(distance(got.dEmbedding, dEmbedding.values)).toBeLessThan(LONG_SUM_TOLERANCE)
  expect(Math.abs(got.loss / wanted.loss - 1)).toBeLessThan(LONG_SUM_TOLERANCE)
}

/** Uniform between −2 and 2, exact in f32. */
function randomMatrix(rows: number, columns: number, seed: string): Matrix {
  const uniform = randomFrom(seed)
  const next = () => Math.fround(4 * uniform() - 2)
  return matrix(rows, columns, Float64Array.from({ length: rows * columns }, next))
}

/** Matrices with deviation 0.2 instead of 0.02 and gains between 0.5 and 2: nothing is near its linear beginning. */
function startOf(config: ModelConfig): Float32Array<ArrayBuffer> {
  const uniform = randomFrom('gains')
  return initialParameters(config, 'numerics').map((value) =>
    value === 1 ? 0.5 + 1.5 * uniform() : value * 10,
  )
}

/** Through the warm-up and past the peak of the schedule. */
function jobOf({ config, batchSize, microBatch }: Case, steps: number): TrainJob {
  const sequences = randomSequences(config, steps * batchSize, 'numerics')
  const schedule = { firstStep: 0, totalSteps: 2 * STEPS, peakLearningRate: 3e-3 }
  return { sequences, steps, batchSize, microBatch, ...schedule }
}

function reset(engine: Engine): void {
  const zeros = () => new Float32Array(parameterCount(engine.config))
  engine.setParameters(startOf(engine.config))
  engine.setOptimiserState({ firstMoment: zeros(), secondMoment: zeros(), updates: 0 })
}

type Numbers = Float32Array | Float64Array

const distance = (got: Numbers, wanted: Numbers) => length(minus(got, wanted)) / length(wanted)

const minus = (a: Numbers, b: Numbers) => {
  if (a.length !== b.length) throw new Error(`internal: ${a.length} numbers against ${b.length}`)
  return Float64Array.from(a, (value, i) => value - (b[i] as number)) // as long as a
}

function length(x: Numbers): number {
  let squares = 0
  for (const value of x) squares += value * value
  return Math.sqrt(squares)
}

/** Object.entries, whose type forgets the keys of a record that has no others. */
const entriesOf = <Key extends string>(record: Record<Key, Case>) => Object.entries(record) as [Key, Case][]
