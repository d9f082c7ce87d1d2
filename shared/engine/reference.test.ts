/** What makes the reference one: finite differences of its loss, and numbers worked by hand. */
import { describe, expect, test } from 'vitest'
import type { ModelConfig } from '../model/config.ts'
import { initialParameters } from '../model/initial.ts'
import { parameterLayout } from '../model/layout.ts'
import { randomFrom } from '../model/random.ts'
import {
  referenceAdamW,
  referenceGradient,
  referenceLoss,
  referenceNext,
  referenceTrain,
} from './reference.ts'
import { attend, matrix, normalise, rotate } from './referenceMatrix.ts'

const SMALL: ModelConfig = {
  vocabSize: 13,
  layers: 2,
  heads: 3,
  dModel: 12,
  headDim: 4,
  hidden: 7,
  sequenceLength: 5,
}

/** Gains away from 1 and matrices far from 0: every term of every gradient has its weight. */
function parameters(): Float64Array {
  const uniform = randomFrom('reference')
  return Float64Array.from(initialParameters(SMALL, 'reference'), (value) =>
    value === 1 ? 0.5 + 1.5 * uniform() : value * 20,
  )
}

const IDS = Uint16Array.of(3, 1, 12, 1, 0, 7, 5, 5, 2, 9, 11, 4)

describe('every gradient is the slope of the loss', () => {
  const all = parameters()
  const { gradient } = referenceGradient(SMALL, all, IDS)

  // The four-point rule with step h errs by h⁴·f⁽⁵⁾/30 and by rounding of about 1e-16/h: both below 1e-10 here.
  const slope = (index: number): number => {
    const at = (change: number) => {
      const moved = all.with(index, (all[index] as number) + change) // index comes from the layout
      const { loss, zLoss } = referenceGradient(SMALL, moved, IDS)
      return loss + zLoss
    }
    const h = 1e-3
    return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
  }

  test.each(parameterLayout(SMALL))('$name', ({ offset, size }) => {
    // All of a gain; of a matrix a dozen elements, in different rows and columns.
    const stride = size <= 12 ? 1 : Math.floor(size / 12) | 1
    let [difference, squares] = [0, 0]
    for (let i = 0; i < size; i += stride) {
      const wanted = slope(offset + i)
      difference += ((gradient[offset + i] as number) - wanted) ** 2
      squares += wanted ** 2
    }
    expect(squares).toBeGreaterThan(0)
    expect(Math.sqrt(difference / squares)).toBeLessThan(1e-8)
  })
})

test('cross entropy, z-loss and their gradient of known logits', () => {
  // softmax of ln 1, ln 2, ln 5 is 1/8, 2/8, 5/8 and logsumexp is ln 8 = 2.0794415.
  const { loss, zLoss, dLogits } = referenceLoss(matrix(1, 3, Float64Array.of(0, Math.LN2, Math.log(5))), [1])
  expect(loss).toBeCloseTo(1.3862943611, 10) // ln 4
  expect(zLoss).toBeCloseTo(0.0004324077125, 12) // 1e-4·(ln 8)²
  const wanted = [0.125051986, -0.749896028, 0.62525993] // p − onehot + 2e-4·ln 8·p
  for (const [i, slope] of wanted.entries()) expect(dLogits.values[i]).toBeCloseTo(slope, 8)
})

test('logits in the thousands overflow nothing', () => {
  const { loss, zLoss } = referenceLoss(matrix(1, 2, Float64Array.of(2_000, 1_999)), [1])
  expect(loss).toBeCloseTo(1.3132616875, 9) // ln(1 + e)
  expect(zLoss).toBeCloseTo(400.1253145, 6) // 1e-4·(2000 + ln(1 + 1/e))²
})

test('two updates of AdamW, the first with its gradient clipped', () => {
  const state = {
    parameters: Float64Array.of(1, -2),
    first: new Float64Array(2),
    second: new Float64Array(2),
  }
  referenceAdamW(state, Float64Array.of(3, 4), 1, 0.1, 0.5)
  // Clipped to 3/5 and 4/5 but for torch's 1e-6; then p·(1 − 0.1·0.5) − 0.1·sign(g).
  expectClose(state.first, [0.06, 0.08], 7)
  expectClose(state.second, [0.0036, 0.0064], 7)
  expectClose(state.parameters, [0.85, -2], 7)
  referenceAdamW(state, Float64Array.of(0.3, -0.4), 2, 0.1, 0.5)
  // m = 0.9·0.06 + 0.03 and 0.9·0.08 − 0.04; v = 0.99·0.0036 + 0.0009 and 0.99·0.0064 + 0.0016.
  expectClose(state.first, [0.084, 0.032], 7)
  expectClose(state.second, [0.004464, 0.007936], 7)
  // p·0.95 − 0.1·(m/0.19)/√(v/0.0199)
  expectClose(state.parameters, [0.7141552, -1.9266699], 6)
})

test("a job's first step moves every parameter by the scheduled rate, against its gradient's sign", () => {
  // Step 2 of 20 is the first after the warm-up, at the peak; a fresh optimiser takes a tenth of it.
  const job = { steps: 1, batchSize: 2, firstStep: 2, totalSteps: 20, peakLearningRate: 0.01, sequences: IDS }
  const { gradient } = referenceGradient(SMALL, parameters(), IDS)
  const initial = parameters()
  const trained = referenceTrain(SMALL, initial, job)
  const clearly = [...gradient.entries()].filter(([, g]) => Math.abs(g) > 0.01) // where ε does not count
  expect(clearly.length).toBeGreaterThan(gradient.length / 2)
  for (const [i, g] of clearly) {
    const before = initial[i] as number // as many as gradients
    expect(trained.parameters[i]).toBeCloseTo(before * (1 - 0.001 / 20) - 0.001 * Math.sign(g), 7)
  }
})

test('attention sees earlier positions of its own head and sequence, scaled by 1/√D', () => {
  // Two sequences of two tokens, two heads of four; the second query's scores are 0 and 2·ln 3/√4 = ln 3.
  const score = Math.log(3)
  const row = (left: number, right: number) => [left, 0, 0, 0, right, 0, 0, 0]
  const q = matrix(4, 8, Float64Array.of(...[...Array(4)].flatMap(() => row(2, 2))))
  const k = matrix(4, 8, Float64Array.of(...row(0, score), ...row(score, 0), ...row(0, 0), ...row(0, 0)))
  const v = matrix(4, 8, Float64Array.of(...row(10, 1), ...row(20, 2), ...row(30, 3), ...row(40, 4)))
  const { merged } = attend(q, k, v, 2, 2)
  // Weights 1/4 and 3/4, 3/4 and 1/4 in the first sequence, halves in the second.
  const wanted = [...row(10, 1), ...row(17.5, 1.25), ...row(30, 3), ...row(35, 3.5)]
  expectClose(merged.values, wanted, 10)
})

test('position 1 turns the pairs of a head of four by 1 and by 1/100; position 0 by nothing', () => {
  // Two heads a token; the second token's numbers by cos 1 = 0.5403023, sin 1 = 0.8414710, cos and sin of 0.01.
  const x = matrix(4, 4, Float64Array.of(...[...Array(4)].flatMap(() => [1, 2, 3, 4])))
  const turned = [-1.9841106, 1.9599007, 2.4623779, 4.0197997]
  expectClose(rotate(x, 2, 2, 1).values, [1, 2, 3, 4, 1, 2, 3, 4, ...turned, ...turned], 7)
  expectClose(rotate(rotate(x, 2, 2, 1), 2, 2, -1).values, Array.from(x.values), 12)
})

test('LayerNorm takes the mean away and divides by the deviation, with a gain and no bias', () => {
  // Mean 3, variance (4 + 1 + 0 + 9)/4 = 3.5.
  const { y } = normalise(
    matrix(1, 4, Float64Array.of(1, 2, 3, 6)),
    matrix(1, 4, Float64Array.of(1, 2, 3, 4)),
  )
  expectClose(y.values, [-1.0690448, 2 * -0.5345224, 0, 4 * 1.6035672], 6)
})

test('a model that only copies its token says the id whose embedding is nearest', () => {
  // Embeddings on a circle, no block writes anything: the final norm of token i points to embedding i.
  const config = { ...SMALL, layers: 0, vocabSize: 5 }
  const circle = Float64Array.from({ length: 60 }, (_, i) =>
    Math.cos((2 * Math.PI * ((i % 12) - 2 * Math.floor(i / 12))) / 12),
  )
  const all = Float64Array.of(...circle, ...Array<number>(12).fill(1))
  expect([0, 1, 2, 3, 4].map((id) => referenceNext(config, all, [2, id]))).toEqual([0, 1, 2, 3, 4])
})

function expectClose(got: Float64Array, wanted: readonly number[], digits: number): void {
  expect(got).toHaveLength(wanted.length)
  for (const [i, value] of wanted.entries()) expect(got[i]).toBeCloseTo(value, digits)
}
