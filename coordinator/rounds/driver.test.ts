import { describe, expect, it } from 'vitest'
import { defaultRunConfig } from '../../shared/protocol/defaults.ts'
import { RoundDriver } from './driver.ts'
import { freshMachine } from './state.ts'

const BASE = { parameters: 10, weights: 'a'.repeat(64), exact: null, velocity: null, largest: 1 }

/** A driver whose clock is turned by hand and whose commits fail when they are told to. */
function drive() {
  const timers = new Set<{ time: number; callback: () => void }>()
  const problems: string[] = []
  const world = { now: 1_000, broken: false }
  const config = { ...defaultRunConfig('nano'), quorum: 1, replicas: 2, deadlineSeconds: 60 }
  const prepared = { run: 'run-00001', config, sequenceLength: 64, sequencesPerEpoch: 100 }
  const driver = new RoundDriver(freshMachine({ ...prepared, fragments: [BASE] }), {
    clock: {
      now: () => world.now,
      at(time, callback) {
        const timer = { time, callback }
        timers.add(timer)
        return () => timers.delete(timer)
      },
    },
    async commit() {
      if (world.broken) throw new Error('The disk is full.')
    },
    merge: () => new Promise(() => undefined),
    changed: () => undefined,
    roundClosed: () => undefined,
    problem: (code) => void problems.push(code),
  })
  async function pass(milliseconds: number): Promise<void> {
    world.now += milliseconds
    for (const timer of [...timers].filter(({ time }) => time <= world.now)) {
      timers.delete(timer)
      timer.callback()
    }
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { driver, world, problems, pass, timers }
}

describe('the driver', () => {
  it('comes back to a deadline whose commit failed, after a while and not at once', async () => {
    const { driver, world, problems, pass, timers } = drive()
    await driver.dispatch({ type: 'start', now: world.now })
    await driver.dispatch({ type: 'join', volunteer: 'ann-0000', tokensPerSecond: null, now: world.now })
    expect(driver.machine.phase).toBe('training')
    world.broken = true
    await pass(60_000)
    expect(problems).toEqual(['internal'])
    expect(driver.machine.extensions).toBe(0)
    expect([...timers].map(({ time }) => time - world.now)).toEqual([10_000])
    world.broken = false
    await pass(10_000)
    expect(driver.machine.extensions).toBe(1) // R4: nobody has contributed
  })
})
