import { describe, expect, it } from 'vitest'
import { defaultRunConfig } from '../../shared/protocol/defaults.ts'
import { freshMachine, type Machine } from '../rounds/state.ts'
import type { BlobStore } from '../store/blobs.ts'
import type { MetadataStore } from '../store/metadata.ts'
import { pruneRound } from './prune.ts'

const hash = (name: string) => name.repeat(64)
const [OLD, NEW, FIRST, EXACT, VELOCITY, SENT] = ['a', 'b', 'c', 'd', 'e', 'f'].map(hash) as [
  string,
  string,
  string,
  string,
  string,
  string,
]

/** What a round leaves on disk when the fourth one is closed, of which all is old but what `change` needs. */
async function freed(change: Partial<Machine> = {}, comes: (hash: string) => boolean = () => false) {
  const base = { parameters: 10, weights: NEW, exact: null, velocity: null, largest: 1 }
  const config = { ...defaultRunConfig('nano') }
  const prepared = {
    run: 'run-00000001',
    config,
    sequenceLength: 64,
    sequencesPerEpoch: 100,
    fragments: [base],
  }
  const machine = { ...freshMachine(prepared), ...change }
  const asked: number[] = []
  const deleted: string[] = []
  const store = {
    roundBlobs: async (_run: string, round: number) => {
      asked.push(round)
      return {
        fragment: 0,
        weightsBefore: OLD,
        exactBefore: EXACT,
        velocityBefore: VELOCITY,
        delta: null,
        contributions: [SENT],
      }
    },
  } as Partial<MetadataStore> as MetadataStore // all that is asked of it
  const blobs = { delete: async (one: string) => void deleted.push(one) } as Partial<BlobStore> as BlobStore
  await pruneRound({
    ...{ store, blobs, vault: blobs, machine: () => machine, initialWeights: [FIRST], comes },
    ...{ round: 4, droppedDeltas: [FIRST] },
  })
  return { asked, deleted }
}

describe('what old rounds leave', () => {
  it('goes three rounds later, the untrained weights stay', async () => {
    expect(await freed()).toEqual({ asked: [1], deleted: [OLD, EXACT, VELOCITY, SENT] })
  })

  it('stays where the same bytes are still needed', async () => {
    const base = { parameters: 10, weights: OLD, exact: EXACT, velocity: VELOCITY, largest: 1 }
    expect((await freed({ fragments: [{ base, deltas: [] }] })).deleted).toEqual([SENT])
    const counted = { volunteer: 'ann-00001', steps: 1, tokens: 1, weight: 1, bytes: 1, trainLoss: 1 }
    const accepted = { 'lease-001': { ...counted, hash: SENT } }
    expect((await freed({ accepted })).deleted).not.toContain(SENT)
    expect((await freed({}, (one) => one === SENT)).deleted).not.toContain(SENT)
  })
})
