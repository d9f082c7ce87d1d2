import { describe, expect, it } from 'vitest'
import type { ContributionRow, VolunteerRow } from '../../shared/protocol/admin.ts'
import { RUN_STATUSES } from '../../shared/protocol/run.ts'
import { filterContributions, isAllowed, mayCreate, mayRollBackTo, rowState, speedNow } from './panelModel.ts'

const row = (changes: Partial<VolunteerRow> = {}): VolunteerRow => ({
  id: 'volunteer-1',
  name: 'amber-otter-12',
  connected: true,
  state: 'training',
  backend: 'wasm',
  device: '',
  tokensPerSecond: 100,
  utilisation: null,
  bytesUp: null,
  bytesDown: null,
  group: null,
  peerBytesUp: null,
  peerBytesDown: null,
  step: null,
  steps: null,
  accepted: 0,
  rejected: 0,
  tokens: 0,
  removed: null,
  lastSeenAt: 0,
  ...changes,
})

describe('the actions', () => {
  it('are those the coordinator takes in each status', () => {
    const allowed = (action: Parameters<typeof isAllowed>[0]) =>
      RUN_STATUSES.filter((status) => isAllowed(action, status))
    expect(allowed('start')).toEqual(['ready'])
    expect(allowed('pause')).toEqual(['running'])
    expect(allowed('resume')).toEqual(['paused'])
    expect(allowed('end')).toEqual(['ready', 'running', 'paused'])
  })
  it('roll back only the run under way, to a round before it', () => {
    const under = { id: 'run-00000001', status: 'paused' as const, round: 3 }
    const at = (round: number, run: string = under.id) => ({ run, round })
    expect(mayRollBackTo(at(2), under)).toBe(true)
    expect(mayRollBackTo(at(3), under)).toBe(false)
    expect(mayRollBackTo(at(2, 'run-00000002'), under)).toBe(false)
    expect(mayRollBackTo(at(2), { ...under, status: 'completed' })).toBe(false)
    expect(mayRollBackTo(at(2), null)).toBe(false)
  })
  it('leave room for a new run once the old one is over', () => {
    expect(mayCreate(null)).toBe(true)
    const over = RUN_STATUSES.filter((status) => mayCreate({ status }))
    expect(over).toEqual(['completed', 'ended', 'failed'])
  })
})

describe('a volunteer’s state', () => {
  it('is what the tab says only while it is here and welcome', () => {
    expect(rowState(row())).toBe('training')
    expect(rowState(row({ connected: false }))).toBe('away')
    expect(rowState(row({ removed: 'spam' }))).toBe('removed')
  })
})

describe('the speed now', () => {
  it('adds up those at work', () => {
    const rows = [row(), row({ tokensPerSecond: 50 }), row({ state: 'paused' }), row({ connected: false })]
    expect(speedNow(rows)).toEqual({ training: 2, tokensPerSecond: 150 })
  })
  it('is unknown, not 0, when nobody is', () => {
    expect(speedNow([row({ state: 'waiting' })])).toEqual({ training: 0, tokensPerSecond: null })
  })
})

describe('the filter', () => {
  it('keeps all, the accepted, or those not used', () => {
    const rows = (['accepted', 'rejected', 'accepted'] as const).map(
      (result, i): ContributionRow => ({
        lease: `lease-${i}`,
        volunteer: 'volunteer-1',
        name: 'amber-otter-12',
        round: 1,
        result,
        reason: null,
        message: '',
        tokens: 0,
        trainLoss: null,
        bytes: 0,
        at: 0,
      }),
    )
    const left = (filter: Parameters<typeof filterContributions>[1]) =>
      filterContributions(rows, filter).length
    expect([left('all'), left('accepted'), left('rejected')]).toEqual([3, 2, 1])
  })
})
