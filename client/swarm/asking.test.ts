import { describe, expect, it } from 'vitest'
import type { LeaseAnswer } from '../../shared/protocol/messages.ts'
import { fakeRun } from '../volunteer/fakes.ts'
import { Asking } from './asking.ts'

const run = fakeRun()

/** Every request is refused, and counted. */
function refusing() {
  const asked: (string | null)[] = []
  const asking = new Asking(async (_run, after): Promise<LeaseAnswer> => {
    asked.push(after)
    return { wait: 'round-full' }
  })
  return { asked, asking }
}

describe('[V9] a tab that asks for leases', () => {
  it('takes what it asked for ahead when that follows what it has done, once', async () => {
    const { asked, asking } = refusing()
    asking.askAhead(run, 'lease-1')
    await asking.ask(run, 'lease-1')
    expect(asked).toEqual(['lease-1'])
    await asking.ask(run, 'lease-1')
    expect(asked).toEqual(['lease-1', 'lease-1'])
  })

  it('asks anew when what it asked for ahead follows something else', async () => {
    const { asked, asking } = refusing()
    asking.askAhead(run, 'lease-1')
    await asking.ask(run, null)
    await asking.ask(run, 'lease-1')
    expect(asked).toEqual(['lease-1', null, 'lease-1'])
  })

  it('asks anew after it had left, or had lost its connection', async () => {
    const { asked, asking } = refusing()
    asking.askAhead(run, 'lease-1')
    asking.left()
    await asking.ask(run, 'lease-1')
    expect(asked).toEqual(['lease-1', 'lease-1'])
  })

  it('waits after a refusal until it is called', async () => {
    const { asking } = refusing()
    asking.again()
    await asking.ask(run, null)
    expect(asking.isCalled).toBe(false)
    asking.again()
    expect(asking.isCalled).toBe(true)
    await asking.ask(run, null)
    expect(asking.isCalled).toBe(false)
  })

  it('does not lose a call that comes before it takes the refusal that it asked for ahead', async () => {
    const { asking } = refusing()
    asking.askAhead(run, 'lease-1')
    asking.again()
    asking.looked()
    await asking.ask(run, 'lease-1')
    expect(asking.isCalled).toBe(true)
  })

  it('says why it waits, as long as it does', () => {
    const { asking } = refusing()
    expect(asking.reason(run)).toBeNull()
    asking.refused('contributed', run)
    expect(asking.reason(run)).toBe('contributed')
    expect(asking.reason(fakeRun({ status: 'paused' }))).toBe('paused')
    asking.refused()
    expect(asking.reason(run)).toBeNull()
  })
})
