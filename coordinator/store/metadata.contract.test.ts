/** What any driver of the metadata store must do. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import SQLite from 'better-sqlite3'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { defaultRunConfig } from '../../shared/protocol/defaults.ts'
import { Book } from '../rounds/book.ts'
import { emptyPool } from '../rounds/pool.ts'
import { freshMachine, type Machine } from '../rounds/state.ts'
import type { Commit, MetadataStore } from './metadata.ts'
import { openSqliteStore } from './sqlite.ts'

const HASH = 'a'.repeat(64)
const AFTER = 'b'.repeat(64)
const RUN = 'run-00000001'
const config = defaultRunConfig('nano')
const machine: Machine = freshMachine({
  run: RUN,
  config,
  sequenceLength: 64,
  sequencesPerEpoch: 1_000,
  fragments: [{ parameters: 10, weights: HASH, exact: null, velocity: null, largest: 1 }],
})
const base = (hash: string) => ({ parameters: 10, weights: hash, exact: hash, velocity: hash, largest: 1 })
const nothing = { granted: [], ended: [], accepted: [], refused: [], closed: null, rolledBack: null }
const empty: Commit = { machine, ...nothing, bytesDown: 0, now: 5 }
const contribution = {
  volunteer: 'ann-00001',
  steps: 2,
  tokens: 128,
  weight: 128,
  hash: HASH,
  mean: null,
  bytes: 24,
  trainLoss: 6,
}
const grant = (id: string, volunteer = 'ann-00001') => ({
  id,
  volunteer,
  round: 1,
  steps: 2,
  ranges: [{ epoch: 0, first: 0, count: 16 }],
})
const accept = (lease: string) => ({ lease, contribution })
const close = (leases: string[]): NonNullable<Commit['closed']> => ({
  round: 1,
  fragment: 0,
  replicas: leases.length,
  tokens: 128 * leases.length,
  steps: 2 * leases.length,
  trainLoss: 6,
  seconds: 10,
  bytesUp: 24,
  bytesDown: 100,
  outerLearningRate: 0.4,
  closedAt: 9,
  before: { ...base(HASH), exact: null, velocity: null },
  after: base(AFTER),
  delta: { hash: HASH, bytes: 12 },
  checkpoint: { round: 1, fragments: [base(AFTER)], pool: { ...emptyPool(), cursor: 32 } },
  leases,
})

describe.each([['SQLite', openSqliteStore]])('a metadata store of %s', (_name, openStore) => {
  let directory: string
  let file: string
  let store: MetadataStore

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'potluck-metadata-'))
    file = join(directory, 'store.sqlite')
    store = await openStore(file)
    await store.createVolunteer({ id: 'ann-00001', name: 'Ann', tokenHash: 'hash of ann', now: 1 })
    await store.createVolunteer({ id: 'bob-00001', name: 'Bob', tokenHash: 'hash of bob', now: 2 })
    await store.createRun({ id: RUN, config, now: 3 })
    await store.prepareRun(RUN, machine, HASH)
  })
  afterEach(async () => {
    await store.close()
    rmSync(directory, { recursive: true, force: true })
  })

  async function reopen(): Promise<void> {
    await store.close()
    store = await openStore(file)
  }

  it('keeps settings, changes them and forgets them', async () => {
    expect(await store.setting('dish')).toBeNull()
    await store.setSetting('dish', 'soup')
    await store.setSetting('dish', 'stew')
    await reopen()
    expect(await store.setting('dish')).toBe('stew')
    await store.setSetting('dish', null)
    await store.setSetting('dish', null)
    expect(await store.setting('dish')).toBeNull()
  })

  it('knows volunteers by the hash of their token, the most recently seen first', async () => {
    expect(await store.volunteerByToken('hash of eve')).toBeNull()
    const change = { backend: 'wasm' as const, device: 'laptop', tokensPerSecond: 12.5, lastSeenAt: 9 }
    await store.updateVolunteer('ann-00001', change)
    await store.updateVolunteer('bob-00001', { removed: 'spilled the soup' })
    const ann = { id: 'ann-00001', name: 'Ann', removed: null, ...change }
    expect(await store.volunteerByToken('hash of ann')).toEqual(ann)
    expect((await store.volunteers(10)).map(({ name }) => name)).toEqual(['Ann', 'Bob'])
    expect(await store.volunteers(1)).toEqual([ann])
    expect((await store.volunteerByToken('hash of bob'))?.removed).toBe('spilled the soup')
  })

  it('answers the newest run, through every state of its making', async () => {
    expect(await store.latestRun()).toMatchObject({ status: 'prepared', manifest: HASH, machine, config })
    await store.createRun({ id: 'run-00000002', config, now: 4 })
    expect(await store.latestRun()).toMatchObject({ id: 'run-00000002', status: 'preparing', machine: null })
    await store.failRun('run-00000002', 'no corpus')
    expect(await store.latestRun()).toMatchObject({ status: 'failed', problem: 'no corpus' })
  })

  it('commits an event’s state and rows together', async () => {
    const later = { ...machine, round: 1, openedAt: 5 }
    await store.commit({ ...empty, machine: later, granted: [grant('lease-001')] })
    await store.commit({
      ...empty,
      machine: later,
      accepted: [accept('lease-001')],
      ended: [{ lease: 'lease-001', end: 'accepted' }],
    })
    await reopen()
    expect((await store.latestRun())?.machine).toEqual(later)
    expect(await store.lease('lease-001')).toMatchObject({ volunteer: 'ann-00001', end: 'accepted' })
    expect(await store.contribution('lease-001')).toMatchObject({ result: 'accepted', tokens: 128 })
    expect(await store.lease('lease-002')).toBeNull()
    expect(await store.contribution('lease-002')).toBeNull()
  })

  it('has the state of the last commit, whoever made the one before', async () => {
    const refused = (...volunteers: string[]) => ({
      ...machine,
      refusals: Book.of<number>(volunteers.map((volunteer) => [volunteer, 1])),
    })
    const [first, another, last] = [
      refused('ann-00001'),
      refused('bob-00001'),
      refused('ann-00001', 'cai-00001'),
    ]
    await store.commit({ ...empty, machine: first })
    const other = await openStore(file)
    await other.commit({ ...empty, machine: another })
    await other.close()
    await store.commit({ ...empty, machine: last })
    expect((await store.latestRun())?.machine).toEqual(last)
  })

  it('remembers how much the round under way has sent', async () => {
    expect((await store.latestRun())?.bytesDown).toBe(0)
    await store.commit({ ...empty, bytesDown: 3_000_000_000 })
    await reopen()
    expect((await store.latestRun())?.bytesDown).toBe(3_000_000_000)
  })

  it('grants a lease that is asked for twice once', async () => {
    await store.commit({ ...empty, granted: [grant('lease-001')] })
    await store.commit({ ...empty, granted: [grant('lease-001')] })
    expect(await store.lease('lease-001')).toMatchObject({ end: null })
  })

  it('keeps nothing of a commit that fails: no lease is accepted twice', async () => {
    await store.commit({ ...empty, granted: [grant('lease-001')], accepted: [accept('lease-001')] })
    const twice = store.commit({
      ...empty,
      machine: { ...machine, round: 2 },
      granted: [grant('lease-002')],
      ended: [{ lease: 'lease-001', end: 'released' }],
      accepted: [accept('lease-002'), accept('lease-001')],
    })
    await expect(twice).rejects.toThrow()
    expect((await store.latestRun())?.machine?.round).toBe(1)
    expect(await store.lease('lease-002')).toBeNull()
    expect(await store.contribution('lease-002')).toBeNull()
    expect((await store.lease('lease-001'))?.end).toBeNull()
    expect(await store.contributions(RUN, 10)).toHaveLength(1)
  })

  it('keeps nothing of a commit that closes a round twice', async () => {
    const closing = { ...empty, accepted: [accept('lease-001')], closed: close(['lease-001']) }
    await store.commit(closing)
    const again = { ...empty, accepted: [accept('lease-002')], closed: close(['lease-002']) }
    await expect(store.commit(again)).rejects.toThrow()
    expect(await store.contribution('lease-002')).toBeNull()
  })

  it('answers with what was accepted, whatever was refused before or after', async () => {
    const refuse = (reason: 'hash-mismatch' | 'duplicate') =>
      store.commit({
        ...empty,
        refused: [{ lease: 'lease-001', volunteer: 'ann-00001', reason, hash: null }],
      })
    await refuse('hash-mismatch')
    expect(await store.contribution('lease-001')).toMatchObject({ reason: 'hash-mismatch' })
    await store.commit({ ...empty, accepted: [accept('lease-001')] })
    await refuse('duplicate')
    expect(await store.contribution('lease-001')).toMatchObject({ result: 'accepted' })
  })

  it('counts credit from the contributions: tokens only once merged', async () => {
    const refused = [{ lease: 'lease-009', volunteer: 'ann-00001', reason: 'stale' as const, hash: null }]
    await store.commit({ ...empty, accepted: [accept('lease-001'), accept('lease-002')], refused })
    expect((await store.credit(['ann-00001'])).get('ann-00001')).toEqual({
      accepted: 2,
      rejected: 1,
      tokens: 0,
    })
    await store.commit({ ...empty, closed: close(['lease-001']) })
    const credit = await store.credit(['ann-00001', 'bob-00001'])
    expect(credit.get('ann-00001')).toEqual({ accepted: 2, rejected: 1, tokens: 128 })
    expect(credit.get('bob-00001')).toBeUndefined()
    expect((await store.credit([])).size).toBe(0)
    expect(await store.contributors(RUN)).toBe(1)
  })

  it('counts whose contributions were ever accepted, each once', async () => {
    expect(await store.contributors(RUN)).toBe(0)
    const of = (lease: string, volunteer: string) => ({ lease, contribution: { ...contribution, volunteer } })
    const accepted = [
      of('lease-001', 'bob-00001'),
      of('lease-002', 'ann-00001'),
      of('lease-003', 'bob-00001'),
    ]
    const refused = [{ lease: 'lease-009', volunteer: 'cat-00001', reason: 'stale' as const, hash: null }]
    await store.createVolunteer({ id: 'cat-00001', name: 'Cat', tokenHash: 'hash of cat', now: 2 })
    await store.commit({ ...empty, accepted, refused })
    expect(await store.contributors(RUN)).toBe(2)
    expect(await store.contributors('another-run')).toBe(0)
  })

  it('tells the rounds after one that is known, and the first and the newest sample', async () => {
    const measured = {
      weights: [AFTER],
      data: AFTER,
      examples: 1,
      by: 'coordinator',
      seconds: 1,
      at: 8,
    } as const
    for (const round of [1, 2, 3]) {
      const closed = close(['lease-001'])
      const checkpoint = { ...closed.checkpoint, round }
      await store.commit({ ...empty, closed: { ...closed, round, checkpoint } })
      await store.setHeldOut(RUN, round, {
        ...measured,
        nats: 5,
        tokens: 1,
        bytes: 2,
        sample: `text ${round}`,
      })
    }
    const all = await store.rounds(RUN)
    expect(all.map(({ totalTokens }) => totalTokens)).toEqual([128, 256, 384])
    expect(await store.rounds(RUN, all[0])).toEqual(all.slice(1))
    expect(await store.rounds(RUN, all[2])).toEqual([])
    expect(await store.samples(RUN)).toEqual([
      { round: 1, text: 'text 1' },
      { round: 3, text: 'text 3' },
    ])
  })

  it('keeps a checkpoint with its round, and notes the files of both', async () => {
    await store.commit({ ...empty, accepted: [accept('lease-001')], closed: close(['lease-001']) })
    const of = { data: AFTER, examples: 1, by: 'coordinator', seconds: 1, at: 8, sample: null } as const
    const measured = { ...of, nats: 500, tokens: 100, bytes: 200 }
    await store.setHeldOut(RUN, 1, { ...measured, weights: [AFTER] })
    await store.setHeldOut(RUN, 1, { ...measured, weights: [HASH], nats: 900 }) // of a round that was rolled back
    await reopen()
    const [untrained, first] = await store.checkpoints(RUN)
    expect(untrained).toMatchObject({ round: 0, fragments: [{ weights: HASH }], trainLoss: null, at: 3 })
    expect(first).toMatchObject({ round: 1, fragments: [base(AFTER)], pool: { cursor: 32 }, valLoss: 5 })
    expect(await store.files(RUN)).toEqual(
      expect.arrayContaining([
        { store: 'blobs', hash: HASH },
        { store: 'blobs', hash: AFTER },
        { store: 'vault', hash: AFTER },
        { store: 'vault', hash: HASH },
      ]),
    )
    await store.dropCheckpoints(RUN, [1])
    expect(await store.checkpoints(null)).toEqual([untrained])
    await store.forgetFile({ run: RUN, store: 'vault', hash: AFTER })
    expect(await store.files(RUN)).not.toContainEqual({ store: 'vault', hash: AFTER })
  })

  it('takes rolled back rounds out of the run and keeps them in its history, each contribution counted once', async () => {
    await store.commit({ ...empty, accepted: [accept('lease-001')], closed: close(['lease-001']) })
    const second = { ...close(['lease-002']), round: 2, checkpoint: { ...close([]).checkpoint, round: 2 } }
    const inTwo = { ...empty, machine: { ...machine, round: 2 } }
    await store.commit({ ...inTwo, accepted: [accept('lease-002')], closed: second })
    const inThree = { ...empty, machine: { ...machine, round: 3 } }
    await store.commit({ ...inThree, accepted: [accept('lease-003')] })
    const credit = await store.credit(['ann-00001'])
    const later = { ...machine, round: 2, era: 1 }
    await store.commit({ ...empty, machine: later, rolledBack: { from: 3, to: 1, era: 1 }, now: 12 })
    await reopen()
    expect((await store.latestRun())?.machine).toMatchObject({ round: 2, era: 1 })
    expect((await store.rounds(RUN)).map(({ round }) => round)).toEqual([1])
    expect((await store.checkpoints(RUN)).map(({ round }) => round)).toEqual([0, 1])
    expect(await store.discardedRounds(RUN, 10)).toMatchObject([{ era: 0, round: 2, tokens: 128 }])
    expect(await store.rollbacks(RUN)).toEqual([
      { era: 1, from: 3, to: 1, contributions: 2, tokens: 256, at: 12 },
    ])
    expect(await store.credit(['ann-00001'])).toEqual(credit)
    await store.commit({
      ...empty,
      machine: later,
      accepted: [accept('lease-004')],
      closed: { ...second, leases: ['lease-004'] },
    })
    expect((await store.roundBlobs(RUN, 1))[0]?.contributions).toHaveLength(1)
    expect((await store.rounds(RUN)).at(-1)).toMatchObject({ round: 2, totalTokens: 2 * 128 })
  })

  it('knows what other runs and imports hold', async () => {
    const file = { run: RUN, store: 'vault' as const, hash: AFTER }
    expect(await store.heldElsewhere(file)).toBe(false)
    await store.noteFiles([file, file])
    expect(await store.heldElsewhere(file)).toBe(false)
    const start = { kind: 'import' as const, hash: AFTER, name: 'mine', parameters: 10, largest: 1 }
    await store.createRun({ id: 'run-00000002', config, start, now: 4 })
    expect((await store.run('run-00000002'))?.start).toEqual(start)
    expect(await store.heldElsewhere(file)).toBe(true)
    await store.forgetFile({ ...file, run: 'run-00000002' })
    expect(await store.heldElsewhere(file)).toBe(false)
    const imported = {
      hash: AFTER,
      name: 'mine',
      preset: 'nano' as const,
      vocabSize: 1_024,
      largest: 1,
      at: 5,
    }
    await store.addImport(imported)
    await store.addImport(imported)
    expect(await store.imports()).toEqual([imported])
    expect(await store.heldElsewhere(file)).toBe(true)
    await store.dropImport(AFTER)
    expect(await store.heldElsewhere(file)).toBe(false)
  })

  it('lists corpora, the newest first, until they are dropped', async () => {
    const corpus = {
      ...{ id: 'corpus-01', name: 'Menus', source: 'menus.txt', licence: 'CC0-1.0', hash: HASH },
      ...{
        vocabSize: 300,
        documents: 10,
        tokens: 5_000_000_000,
        bytes: 20_000_000_000,
        validationTokens: 90,
      },
      ...{ broken: 2, sample: 'soup', at: 5 },
    }
    await store.addCorpus(corpus)
    await store.addCorpus({ ...corpus, id: 'corpus-02', at: 6 })
    expect(await store.corpora()).toEqual([{ ...corpus, id: 'corpus-02', at: 6 }, corpus])
    await store.dropCorpus('corpus-02')
    expect(await store.corpora()).toEqual([corpus])
  })

  it('remembers rounds, their evaluation and what they stood on', async () => {
    await store.commit({ ...empty, accepted: [accept('lease-001')], closed: close(['lease-001']) })
    expect(await store.rounds(RUN)).toMatchObject([
      { round: 1, totalTokens: 128, valLoss: null, bytesDown: 100 },
    ])
    // 500 nats for 100 tokens that are 200 bytes: 5 nats a token, 500 / ln 2 / 200 = 3.607 bits a byte.
    const by = {
      weights: [HASH, AFTER],
      data: AFTER,
      examples: 2,
      by: 'volunteers',
      seconds: 3,
      at: 8,
    } as const
    const measured = { ...by, nats: 500, tokens: 100, bytes: 200 }
    const evaluated = { ...measured, sample: 'Fellow citizens' }
    await store.setHeldOut(RUN, 0, { ...evaluated, nats: 700 })
    await store.setHeldOut(RUN, 1, { ...evaluated, nats: 600 })
    await store.setHeldOut(RUN, 1, { ...evaluated, sample: 'My friends' })
    await store.setHeldOut(RUN, 1, { ...evaluated, sample: null })
    const [round] = await store.rounds(RUN)
    expect(round?.valLoss).toBe(5)
    expect(round?.bitsPerByte).toBeCloseTo(3.6067, 4)
    expect(await store.heldOut(RUN, 1)).toEqual(measured)
    expect(await store.heldOut(RUN, 2)).toBeNull()
    expect((await store.latestRun())?.initialValLoss).toBe(7)
    expect(await store.samples(RUN)).toEqual([
      { round: 0, text: 'Fellow citizens' },
      { round: 1, text: 'My friends' },
    ])
    const before = { weightsBefore: HASH, exactBefore: null, velocityBefore: null }
    expect(await store.roundBlobs(RUN, 0)).toEqual([{ round: 1, ...before, contributions: [HASH] }])
    expect(await store.roundBlobs(RUN, 1)).toEqual([])
  })

  describe('results of zero-shot tasks', () => {
    const by = {
      weights: [HASH, AFTER],
      data: AFTER,
      examples: 4,
      by: 'coordinator',
      seconds: 3,
      at: 8,
    } as const
    const numbers = {
      plain: { accuracy: 0.5, standardError: 0.29 },
      normalised: { accuracy: 0.25, standardError: 0.25 },
      chance: 0.25,
    }

    it('are kept a round and task, the newest of each', async () => {
      await store.setTask(RUN, 2, { task: 'piqa', ...by, ...numbers })
      await store.setTask(RUN, 1, { task: 'hellaswag', ...by, ...numbers })
      await store.setTask(RUN, 2, {
        task: 'piqa',
        ...by,
        ...numbers,
        plain: { accuracy: 1, standardError: 0 },
      })
      await store.setHeldOut(RUN, 0, { ...by, nats: 7, tokens: 1, bytes: 2, sample: null })
      const of = { examples: 4, normalised: numbers.normalised, chance: 0.25 }
      expect(await store.taskResults(RUN)).toEqual([
        { task: 'hellaswag', round: 1, ...of, plain: numbers.plain },
        { task: 'piqa', round: 2, ...of, plain: { accuracy: 1, standardError: 0 } },
      ])
      expect(await store.taskResults('another-run')).toEqual([])
    })
  })
})

describe('a database that was damaged', () => {
  it.each([
    ['not JSON at all', "update machine_rows set value = '{' where part = 'config'"],
    ['of another shape', "update machine_rows set value = '7' where part = 'run'"],
    ['in a round that cannot be', "update machine_rows set value = '-1' where part = 'round'"],
    ['not whole', "delete from machine_rows where part = 'fragments'"],
    ['gone', 'delete from machine_rows'],
    ['more than a machine', "update machine_rows set part = 'soup' where part = 'round'"],
  ])('answers bad-state for a machine that is %s', async (_name, damage) => {
    const directory = mkdtempSync(join(tmpdir(), 'potluck-metadata-'))
    const file = join(directory, 'store.sqlite')
    const store = await openSqliteStore(file)
    try {
      await store.createRun({ id: RUN, config, now: 3 })
      await store.prepareRun(RUN, machine, HASH)
      new SQLite(file).exec(damage)
      const fault = { code: 'bad-state', message: expect.stringContaining(RUN) }
      await expect(store.latestRun()).rejects.toMatchObject(fault)
    } finally {
      await store.close()
      rmSync(directory, { recursive: true, force: true })
    }
  })

  it('shows a run of an older version as one that cannot be gone on with', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'potluck-metadata-'))
    const file = join(directory, 'store.sqlite')
    const store = await openSqliteStore(file)
    try {
      await store.createRun({ id: RUN, config, now: 3 })
      await store.prepareRun(RUN, machine, HASH)
      const { fragments: _, codec: _codec, downlink, errorFeedback, overlap, strict, ...older } = config
      const base = { weights: HASH, velocity: null, largest: 1 }
      const db = new SQLite(file)
      db.prepare('update runs set config = ?, initial_weights = ?').run(JSON.stringify(older), HASH)
      db.prepare("update machine_rows set part = 'base', value = ? where part = 'fragments'").run(
        JSON.stringify(base),
      )
      expect(await store.latestRun()).toMatchObject({
        status: 'failed',
        problem: expect.stringContaining('older version'),
        machine: null,
        initialWeights: [HASH],
        config: { ...older, fragments: 1, codec: 'f16', downlink: 'f32', overlap: false },
      })
    } finally {
      await store.close()
      rmSync(directory, { recursive: true, force: true })
    }
  })

  it('answers bad-state when the file is no database', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'potluck-metadata-'))
    writeFileSync(join(directory, 'store.sqlite'), 'minestrone '.repeat(1_000))
    await expect(openSqliteStore(join(directory, 'store.sqlite'))).rejects.toMatchObject({
      code: 'bad-state',
    })
    rmSync(directory, { recursive: true, force: true })
  })
})
