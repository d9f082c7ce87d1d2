import { describe, expect, it } from 'vitest'
import { backoff, wait } from './patience.ts'

describe('patience', () => {
  it('doubles from half a second to fifteen', () => {
    expect([0, 1, 2, 5, 50].map((attempt) => backoff(attempt, () => 0))).toEqual([
      500, 1000, 2000, 15000, 15000,
    ])
    expect(backoff(0, () => 1)).toBe(375)
  })

  it('a wait ends at once with the reason of the abort', async () => {
    const abort = new AbortController()
    const waiting = wait(60_000, abort.signal)
    abort.abort(new Error('stopped'))
    await expect(waiting).rejects.toThrow('stopped')
    await expect(wait(0, new AbortController().signal)).resolves.toBeUndefined()
  })
})
