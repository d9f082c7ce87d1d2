import { expect, test } from 'vitest'
import { measureSteps, median } from './measure.ts'

/** Steps that last what they are told to. */
function scripted(milliseconds: number[]) {
  const asked: number[] = []
  const step = async (index: number) => {
    asked.push(index)
    return { loss: 10 - index, milliseconds: milliseconds[index] ?? 1 }
  }
  return { asked, step }
}

test('the first step is told apart, warm-ups are not counted, the rest give their median and fastest', async () => {
  const { asked, step } = scripted([900, 50, 3, 1, 2, 100, 4])
  const measured = await measureSteps(step, { warmUps: 1, least: 5, most: 5, milliseconds: 0 })
  expect(measured).toEqual({ msPerStep: 3, msOfFastest: 1, firstStepSeconds: 0.9, finalLoss: 4 })
  expect(asked).toEqual([0, 1, 2, 3, 4, 5, 6])
})

test('between least and most the time decides', async () => {
  const limits = { warmUps: 0, least: 2, most: 10, milliseconds: 25 }
  const slow = scripted(Array(20).fill(20))
  await measureSteps(slow.step, limits)
  expect(slow.asked).toHaveLength(1 + 2)
  const quick = scripted(Array(20).fill(6))
  await measureSteps(quick.step, limits)
  expect(quick.asked).toHaveLength(1 + 5)
  const instant = scripted(Array(20).fill(0))
  await measureSteps(instant.step, limits)
  expect(instant.asked).toHaveLength(1 + 10)
})

test('the median of an even number is half-way', () => {
  expect(median([4, 1, 3, 2])).toBe(2.5)
  expect(median([7])).toBe(7)
  expect(median([])).toBeNaN()
})
