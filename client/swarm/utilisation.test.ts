import { describe, expect, it } from 'vitest'
import { Utilisation } from './utilisation.ts'

function meter() {
  let now = 0
  const utilisation = new Utilisation(() => now)
  const at = (seconds: number) => {
    now = seconds * 1_000
  }
  return { utilisation, at }
}

describe('utilisation', () => {
  it('is unknown before the first step', () => {
    const { utilisation, at } = meter()
    at(10)
    expect(utilisation.share).toBeNull()
  })

  it('is the share of time in inner steps since the first one', () => {
    const { utilisation, at } = meter()
    at(10)
    utilisation.jobBegan()
    at(20)
    utilisation.jobEnded(9) // a second went into reading the parameters
    expect(utilisation.share).toBeCloseTo(0.9)
    at(22)
    utilisation.jobBegan()
    at(24)
    expect(utilisation.share).toBeCloseTo(11 / 14) // the job under way counts as it goes
  })

  it('counts a job that failed by the clock, and nothing of what follows', () => {
    const { utilisation, at } = meter()
    utilisation.jobBegan()
    at(6)
    utilisation.jobEnded()
    at(10)
    expect(utilisation.busySeconds).toBe(6)
    expect(utilisation.share).toBeCloseTo(0.6)
  })

  it('knows how long ago the last inner step was', () => {
    const { utilisation, at } = meter()
    at(3)
    expect(utilisation.idleSeconds).toBe(3)
    utilisation.jobBegan()
    at(10)
    expect(utilisation.idleSeconds).toBe(0)
    utilisation.jobEnded(5)
    at(14)
    expect(utilisation.idleSeconds).toBe(4)
  })

  it('leaves pauses out, in a job and between two', () => {
    const { utilisation, at } = meter()
    utilisation.jobBegan()
    at(4)
    utilisation.paused()
    at(100)
    expect(utilisation.share).toBeCloseTo(1)
    utilisation.resumed()
    at(104)
    utilisation.jobEnded(8)
    utilisation.paused()
    at(200)
    utilisation.resumed()
    at(202)
    expect(utilisation.share).toBeCloseTo(0.8)
  })
})
