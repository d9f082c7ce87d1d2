import { describe, expect, it } from 'vitest'
import { ANNOUNCE_EVERY_MS, createAnnouncer } from './announcer.ts'

/** A clock moved by hand, with what waits on it. */
function handClock() {
  let time = 0
  const waiting: { at: number; run: () => void }[] = []
  return {
    timers: {
      now: () => time,
      later: (run: () => void, milliseconds: number) => void waiting.push({ at: time + milliseconds, run }),
    },
    advance(milliseconds: number) {
      time += milliseconds
      for (const due of waiting.splice(0)) {
        if (due.at <= time) due.run()
        else waiting.push(due)
      }
    },
  }
}

describe('the live region', () => {
  it('is empty at first and speaks the first message at once', () => {
    const announcer = createAnnouncer(handClock().timers)
    expect(announcer.text.value).toBe('')
    announcer.announce('Training.')
    expect(announcer.text.value).toBe('Training.')
  })
  it('speaks once in ten seconds, and then only the latest', () => {
    const clock = handClock()
    const announcer = createAnnouncer(clock.timers)
    announcer.announce('Training.')
    clock.advance(2_000)
    announcer.announce('Sending.')
    announcer.announce('Checking.')
    expect(announcer.text.value).toBe('Training.')
    clock.advance(ANNOUNCE_EVERY_MS - 2_000)
    expect(announcer.text.value).toBe('Checking.')
  })
  it('answers a person who asks without waiting', () => {
    const announcer = createAnnouncer(handClock().timers)
    announcer.announce('Training.')
    announcer.answer('Step 3 of 100.')
    expect(announcer.text.value).toBe('Step 3 of 100.')
  })
})
