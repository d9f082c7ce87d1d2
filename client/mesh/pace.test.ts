import { expect, test } from 'vitest'
import { Pace } from './pace.ts'

test('the pace of several messages is what went out together', () => {
  const pace = new Pace()
  expect(pace.bytesPerSecond).toBeNull()
  for (let i = 0; i < 3; i++) pace.begin(1_000)
  for (let i = 0; i < 3; i++) pace.sent(1_000, 3_000)
  expect(pace.bytesPerSecond).toBe(1_500)
})

test('one slow receiver does not slow it', () => {
  const pace = new Pace()
  pace.begin(0)
  pace.sent(4_000, 2_000)
  pace.sent(4_000, 2_000)
  pace.sent(4_000, 60_000)
  expect(pace.bytesPerSecond).toBe(4_000)
})
