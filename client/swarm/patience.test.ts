import { describe, expect, it } from 'vitest'
import { Bell, backoff, wait } from './patience.ts'

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

  it('a bell wakes who waits, and is not remembered', async () => {
    const bell = new Bell()
    const { signal } = new AbortController()
    bell.ring()
    let heard = false
    const waiting = bell.heard(60_000, signal).then(() => {
      heard = true
    })
    await wait(0, signal)
    expect(heard).toBe(false)
    bell.ring()
    await waiting
    await expect(bell.heard(60_000, AbortSignal.abort(new Error('stopped')))).rejects.toThrow('stopped')
  })
})
