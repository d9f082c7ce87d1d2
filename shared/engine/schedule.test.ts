import { expect, test } from 'vitest'
import { innerLearningRate, localWarmup } from './schedule.ts'

test('warm-up is linear over a tenth of the run and reaches the peak on its last step', () => {
  expect(innerLearningRate(0, 200, 0.004)).toBeCloseTo(0.0002, 12)
  expect(innerLearningRate(9, 200, 0.004)).toBeCloseTo(0.002, 12)
  expect(innerLearningRate(19, 200, 0.004)).toBeCloseTo(0.004, 12)
})

test('warm-up is never longer than 1000 steps', () => {
  expect(innerLearningRate(499, 100_000, 1)).toBeCloseTo(0.5, 12)
  expect(innerLearningRate(999, 100_000, 1)).toBeCloseTo(1, 12)
  expect(innerLearningRate(1_000, 100_000, 1)).toBeCloseTo(1, 12)
})

test('the cosine is half-way between peak and floor in the middle and 5 % of the peak at the end', () => {
  expect(innerLearningRate(20, 200, 0.004)).toBeCloseTo(0.004, 12)
  expect(innerLearningRate(110, 200, 0.004)).toBeCloseTo(0.0021, 12)
  expect(innerLearningRate(80, 200, 1)).toBeCloseTo(0.7625, 12) // a third of the way: cos 60° = 1/2
  expect(innerLearningRate(200, 200, 0.004)).toBeCloseTo(0.0002, 12)
  expect(innerLearningRate(5_000, 200, 0.004)).toBeCloseTo(0.0002, 12)
})

test('runs too short for a warm-up start at the peak', () => {
  expect(innerLearningRate(0, 9, 1)).toBe(1)
  expect(innerLearningRate(0, 1, 1)).toBe(1)
})

test('a fresh optimiser reaches the full rate on its tenth update', () => {
  expect([0, 1, 8, 9, 10, 500].map(localWarmup)).toEqual([0.1, 0.2, 0.9, 1, 1, 1])
})
