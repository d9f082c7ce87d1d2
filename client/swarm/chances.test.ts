import { describe, expect, it } from 'vitest'
import { fakeRun } from '../volunteer/fakes.ts'
import { isOver } from './chances.ts'

const run = fakeRun({ round: 5, era: 1 })
const lease = (round: number, era: number) => ({ run: run.id, round, era })

describe('a lease', () => {
  it.each<[string, ReturnType<typeof lease>, boolean]>([
    ['of this round', lease(5, 1), false],
    ['of the round ahead', lease(6, 1), false],
    ['of a round that has closed', lease(4, 1), true],
    ['of an era that was rolled back, whatever its round', lease(6, 0), true],
    ['of an era that this tab has not heard of yet', lease(3, 2), false],
    ['of another run', { ...lease(5, 1), run: 'run-00000002' }, true],
  ])('%s is over: %s', (_name, one, over) => {
    expect(isOver(one, run)).toBe(over)
  })
  it('is over with its run', () => {
    expect(isOver(lease(5, 1), fakeRun({ round: 5, era: 1, status: 'ended' }))).toBe(true)
    expect(isOver(lease(5, 1), null)).toBe(true)
  })
})
