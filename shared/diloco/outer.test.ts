import { describe, expect, it } from 'vitest'
import { travelBound } from './bound.ts'
import { applyDelta } from './delta.ts'
import { accumulate, applyOuterStep, outerLearningRate, pseudoGradient } from './outer.ts'

/** Runs outer steps over a single parameter that starts at 1. */
function trajectory(deltas: number[], learningRate: number, momentum: number): number[] {
  const parameters = Float32Array.of(1)
  const velocity = Float32Array.of(0)
  return deltas.map((delta) => {
    applyOuterStep(parameters, velocity, Float64Array.of(delta), 1, { learningRate, momentum })
    return parameters[0] as number
  })
}

describe('the outer step', () => {
  it('follows PyTorch’s Nesterov on the test vector', () => {
    const got = trajectory([0.1, 0.2, -0.05, 0], 0.7, 0.9)
    const wanted = [0.867, 0.5443, 0.44637, 0.326733]
    wanted.forEach((value, i) => {
      expect(got[i]).toBeCloseTo(value, 6)
    })
  })

  it('is not heavy ball', () => {
    expect(trajectory([0.1], 0.7, 0.9)[0]).not.toBeCloseTo(0.93, 3)
  })

  it('weighs contributions by tokens and divides by accepted weight only', () => {
    const parameters = Float32Array.of(0, 0)
    const sum = new Float64Array(2)
    accumulate(sum, Float32Array.of(1, 0), 300)
    accumulate(sum, Float32Array.of(0, 2), 100)
    applyOuterStep(parameters, new Float32Array(2), sum, 400, { learningRate: 1, momentum: 0 })
    expect([...parameters]).toEqual([-0.75, -0.5])
  })

  it('with H=1, plain SGD inside and rate 1 outside is synchronous data parallelism', () => {
    // Two replicas at θ=2 with gradients 0.5 and 1.5 and inner rate 0.25: data parallelism gives 2 − 0.25·1 = 1.75.
    const theta = Float32Array.of(2)
    const sum = new Float64Array(1)
    for (const gradient of [0.5, 1.5]) {
      accumulate(sum, pseudoGradient(theta, Float32Array.of(2 - 0.25 * gradient)), 1)
    }
    applyOuterStep(theta, new Float32Array(1), sum, 2, { learningRate: 1, momentum: 0 })
    expect(theta[0]).toBe(1.75)
  })

  it('refuses to step on momentum alone', () => {
    expect(() =>
      applyOuterStep(Float32Array.of(1), Float32Array.of(1), new Float64Array(1), 0, {
        learningRate: 1,
        momentum: 0.9,
      }),
    ).toThrow(RangeError)
  })

  it.each([
    [1, 0.4],
    [2, 0.6],
    [4, 0.6],
    [8, 0.8],
    [64, 0.8],
  ])('takes the paper’s rate for %d replicas', (replicas, rate) => {
    expect(outerLearningRate('auto', replicas)).toBe(rate)
    expect(outerLearningRate(0.5, replicas)).toBe(0.5)
  })
})

describe('the step that volunteers make', () => {
  it('adds, and rounds each sum once to f32', () => {
    // 2^24 + 1 is no f32: the sum is a tie, and goes to the even 2^24. 0.1 + 0.2 in f32 is 0x3e99999a.
    const weights = Float32Array.of(2 ** 24, 1, 0.1)
    applyDelta(weights, Float32Array.of(1, -0.25, 0.2))
    expect([...weights]).toEqual([2 ** 24, 0.75, 0.30000001192092896])
    expect(() => applyDelta(weights, Float32Array.of(1))).toThrow(RangeError)
  })
})

describe('the bound on honest travel', () => {
  it('is never exceeded by AdamW, whatever the gradients', () => {
    // The worst histories are sparse: long silence, then growing gradients. Every one starts from zero moments.
    const histories = [
      Array.from({ length: 40 }, () => 1),
      [...Array.from({ length: 30 }, () => 0), 1, 1, 1, 1, 1],
      Array.from({ length: 40 }, (_, i) => 1.1 ** i),
      Array.from({ length: 40 }, (_, i) => (0.9 / 0.99) ** -i),
      Array.from({ length: 40 }, (_, i) => Math.sin(i * i)),
    ]
    for (const gradients of histories) {
      const rates = gradients.map((_, i) => 0.001 * (1 + (i % 3)))
      let [theta, m, v] = [3, 0, 0]
      gradients.forEach((g, i) => {
        m = 0.9 * m + 0.1 * g
        v = 0.99 * v + 0.01 * g * g
        const step = m / (1 - 0.9 ** (i + 1)) / (Math.sqrt(v / (1 - 0.99 ** (i + 1))) + 1e-8)
        theta -= (rates[i] as number) * (step + 0.01 * theta)
      })
      expect(Math.abs(3 - theta)).toBeLessThanOrEqual(
        travelBound(
          rates.reduce((sum, rate) => sum + rate, 0),
          0.01,
          3,
        ),
      )
    }
  })

  it('is near: 2.345 times the summed rates without decay', () => {
    expect(travelBound(1, 0, 1)).toBeCloseTo(2.345 * 1.01, 6)
  })
})
