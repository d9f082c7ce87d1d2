import { describe, expect, it } from 'vitest'
import { Roster } from './roster.ts'

describe('speeds that the round machine does not know yet', () => {
  it('are those told since it was last told all of them', () => {
    const roster = new Roster()
    const [ann, bob, cai] = ['ann', 'bob', 'cai'].map((id) => roster.arrive({ id, name: id }))
    if (!ann || !bob || !cai) throw new Error('nobody came')
    roster.report(ann, { tokensPerSecond: 10 })
    roster.report(bob, { tokensPerSecond: 20 })
    roster.report(cai, { step: 4 })
    const { told } = roster
    roster.report(bob, { tokensPerSecond: 25 })
    roster.report(cai, { tokensPerSecond: 30 })
    expect(told.toJSON()).toEqual({ ann: 10, bob: 20 })
    expect(roster.told.toJSON()).toEqual({ ann: 10, bob: 25, cai: 30 })
    roster.known(told)
    expect(roster.told.toJSON()).toEqual({ bob: 25, cai: 30 })
    roster.depart('bob')
    expect(roster.told.toJSON()).toEqual({ cai: 30 })
    expect(roster.get('cai')).toMatchObject({ step: 4, tokensPerSecond: 30 })
  })
})
