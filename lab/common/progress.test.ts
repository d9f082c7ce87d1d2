import { expect, it } from 'vitest'
import { duration, startProgress } from './progress.ts'

it('progress tells the time left from the cost that is left', () => {
  let now = 0
  const lines: string[] = []
  const progress = startProgress(
    [1, 3, 4],
    (text) => lines.push(text),
    () => now,
  )
  now = 10_000
  progress.done(1, 'a')
  now = 40_000
  progress.done(3, 'b')
  progress.done(4, 'c')
  // 10 s a unit and 7 units left; then 10 s a unit and 4 left.
  expect(lines).toEqual(['1/3, 1 min 10 s left. a', '2/3, 40 s left. b', '3/3, 0 s left. c'])
})

it('durations have two units at most', () => {
  expect([400, 59_000, 185_000, 7_800_000].map(duration)).toEqual(['0 s', '59 s', '3 min 5 s', '2 h 10 min'])
})
