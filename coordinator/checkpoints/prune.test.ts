import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { defaultRunConfig } from '../../shared/protocol/defaults.ts'
import { Book } from '../rounds/book.ts'
import { type AcceptedContribution, type FragmentBase, freshMachine, type Machine } from '../rounds/state.ts'
import type { RunFile } from '../store/metadata.ts'
import { type Standing, unneeded } from './prune.ts'

const base = (name: string): FragmentBase => ({
  parameters: 10,
  weights: `${name} weights`,
  exact: `${name} exact`,
  velocity: `${name} velocity`,
  largest: 1,
})
const recentOf = (name: string, contributions: string[] = []) => ({
  weightsBefore: `${name} weights`,
  exactBefore: `${name} exact`,
  velocityBefore: `${name} velocity`,
  contributions,
})
const prepared = {
  run: 'run-00000001',
  config: defaultRunConfig('nano'),
  sequenceLength: 64,
  sequencesPerEpoch: 100,
  fragments: [base('now')],
}
const machineOf = (change: Partial<Machine> = {}): Machine => ({ ...freshMachine(prepared), ...change })
const filesOf = (...names: string[]) =>
  names.flatMap((name) => [
    { store: 'blobs' as const, hash: `${name} weights` },
    { store: 'vault' as const, hash: `${name} exact` },
    { store: 'vault' as const, hash: `${name} velocity` },
  ])
const sent = { store: 'vault' as const, hash: 'sent' }

function freed(standing: Partial<Standing>, files: readonly Pick<RunFile, 'store' | 'hash'>[]): string[] {
  const nothing = { machine: machineOf(), checkpoints: [], recent: [], fresh: [] }
  return unneeded(files, { ...nothing, ...standing }).map(({ hash }) => hash)
}

describe('a file (K5)', () => {
  it('that nothing needs goes', () => {
    expect(freed({}, [...filesOf('old', 'now'), sent])).toEqual([
      'old weights',
      'old exact',
      'old velocity',
      'sent',
    ])
  })

  it.each<[string, Partial<Standing>]>([
    ['the round under way', { machine: machineOf({ fragments: [{ base: base('old'), deltas: [] }] }) }],
    ['a kept checkpoint', { checkpoints: [{ fragments: [base('other'), base('old')] }] }],
    ['a recent round', { recent: [recentOf('old')] }],
    ['a merge that is not committed', { fresh: filesOf('old') }],
  ])('that %s needs stays', (_name, standing) => {
    expect(freed(standing, filesOf('old'))).toEqual([])
  })

  it('stays while its contribution counts: accepted in the round under way, or merged in a recent one', () => {
    const contribution = { volunteer: 'ann-00001', steps: 1, tokens: 1, weight: 1, bytes: 1, trainLoss: 1 }
    const accepted = Book.of<AcceptedContribution>([
      ['lease-001', { ...contribution, mean: null, hash: 'sent' }],
    ])
    expect(freed({ machine: machineOf({ accepted }) }, [sent])).toEqual([])
    expect(freed({ recent: [recentOf('old', ['sent'])] }, [sent])).toEqual([])
  })

  it('stays while its delta is a way to the newest weights', () => {
    const delta = { from: 'old weights', hash: 'delta', bytes: 1, codec: 'f16' as const }
    const machine = machineOf({ fragments: [{ base: base('now'), deltas: [delta] }] })
    expect(freed({ machine }, [{ store: 'blobs', hash: 'delta' }])).toEqual([])
    expect(freed({}, [{ store: 'blobs', hash: 'delta' }])).toEqual(['delta'])
  })

  it('of the same hash in the other store is another file', () => {
    expect(freed({}, [{ store: 'vault', hash: 'now weights' }])).toEqual(['now weights'])
  })

  it('goes if and only if nothing names it, whatever stands', () => {
    const name = fc.constantFrom<string>('a', 'b', 'c', 'd', 'e')
    const standing = fc.record({
      now: fc.array(name, { minLength: 1, maxLength: 3 }),
      checkpoints: fc.array(fc.array(name, { minLength: 1, maxLength: 2 }), { maxLength: 3 }),
      recent: fc.array(name, { maxLength: 2 }),
      fresh: fc.array(name, { maxLength: 1 }),
    })
    fc.assert(
      fc.property(standing, ({ now, checkpoints, recent, fresh }) => {
        const machine = machineOf({ fragments: now.map((one) => ({ base: base(one), deltas: [] })) })
        const gone = freed(
          {
            machine,
            checkpoints: checkpoints.map((names) => ({ fragments: names.map(base) })),
            recent: recent.map((one) => recentOf(one)),
            fresh: filesOf(...fresh),
          },
          filesOf('a', 'b', 'c', 'd', 'e'),
        )
        const named = new Set([...now, ...checkpoints.flat(), ...recent, ...fresh])
        const expected = filesOf(...['a', 'b', 'c', 'd', 'e'].filter((one) => !named.has(one)))
        expect(gone).toEqual(expected.map(({ hash }) => hash))
      }),
    )
  })
})
