/** That rows written bit by bit are the state, and what became of states that were one JSON. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import SQLite from 'better-sqlite3'
import { Kysely, Migrator, SqliteDialect } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { randomFrom } from '../../shared/model/random.ts'
import { defaultRunConfig } from '../../shared/protocol/defaults.ts'
import { Book } from '../rounds/book.ts'
import type { RoundEvent } from '../rounds/events.ts'
import { changes } from '../rounds/kept.ts'
import { reduce } from '../rounds/machine.ts'
import { freshMachine, type Machine, machineSchema } from '../rounds/state.ts'
import { migrations } from './schema.ts'
import { openSqliteStore } from './sqlite.ts'

const RUN = 'run-00000001'
const HASH = 'a'.repeat(64)
const BASE = { parameters: 1_000, weights: HASH, exact: null, velocity: null, largest: 1 }
const VOLUNTEERS = 24

let folder = ''
let file = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'potluck-rows-'))
  file = join(folder, 'potluck.sqlite')
})
afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
})

describe('the rows of a machine', () => {
  it.each(['soup', 'stew'])('[R10] are its state after every commit: %s', async (seed) => {
    const config = { ...defaultRunConfig('nano'), replicas: 20, quorum: 10, overlap: true, strict: false }
    const prepared = { run: RUN, config, sequenceLength: 64, sequencesPerEpoch: 5_000, fragments: [BASE] }
    let state = freshMachine(prepared)
    const chance = randomFrom(seed)
    const store = await openSqliteStore(file)
    const reader = new SQLite(file, { readonly: true })
    const stored = reader.prepare('select part, id, value from machine_rows order by part, id')
    await store.createRun({ id: RUN, config, now: 0 })
    await store.prepareRun(RUN, state, HASH)
    const most = { leases: 0, accepted: 0, returned: 0, rounds: 0 }
    for (let i = 0; i < 400; i++) {
      state = reduce(state, eventIn(state, chance, i)).state
      const nothing = { granted: [], ended: [], accepted: [], refused: [], closed: null, rolledBack: null }
      if (chance() < 0.5) {
        await store.commit({ machine: state, ...nothing, bytesDown: 0, now: i })
        const whole = Array.from(changes(null, state), (row) => ({
          ...row,
          value: JSON.stringify(row.value),
        }))
        expect(stored.all()).toEqual(whole.sort((a, b) => (a.part + a.id < b.part + b.id ? -1 : 1)))
      }
      most.leases = Math.max(most.leases, state.leases.size)
      most.accepted = Math.max(most.accepted, state.accepted.size)
      most.returned = Math.max(most.returned, state.pool.returned.size)
      most.rounds = state.round
    }
    reader.close()
    await store.close()
    // It was no small world: books of several leaves, and a round that ended.
    expect(most.leases).toBeGreaterThan(12)
    expect(most.accepted).toBeGreaterThan(12)
    expect(most.returned).toBeGreaterThan(1)
    expect(most.rounds).toBeGreaterThan(1)
  })
})

function eventIn(state: Machine, chance: () => number, i: number): RoundEvent {
  const volunteer = `tab-${1_000 + Math.floor(VOLUNTEERS * chance())}`
  const now = 100 * i
  if (i === 0) return { type: 'start', now }
  if (state.phase === 'merging' && chance() < 0.5) {
    const base = { ...BASE, weights: i.toString(16).padStart(64, '0') }
    const merged = { base, delta: { hash: HASH, bytes: 10 } }
    return { type: 'merged', round: state.round, era: state.era, merged, now }
  }
  const [held] = state.leases.of(volunteer)
  const fate = chance()
  if (!state.present.has(volunteer)) return { type: 'join', volunteer, tokensPerSecond: 10 + i, now }
  if (fate < 0.01) return { type: 'leave', volunteer, now }
  if (fate < 0.03) return { type: 'disconnect', volunteer, now }
  if (held && fate < 0.6) {
    const content = { hash: i.toString(16).padStart(64, '1'), bytes: 9, steps: held[1].steps, trainLoss: 5 }
    const [lease] = held
    if (fate < 0.06) return { type: 'unfit', volunteer, lease, reason: 'not-finite', hash: null, now }
    return { type: 'contribution', volunteer, lease, content, now }
  }
  const id = `lease-${10_000 + i}`
  const told = Book.of<number>([])
  return { type: 'request', volunteer, id, after: held?.[0] ?? null, tokensPerSecond: 20 + i, told, now }
}

describe('a database from before states were rows', () => {
  /** As the last version that wrote one JSON had it, in its second round. */
  const lease = {
    ...{ volunteer: 'bob-00001', round: 2, after: 'lease-001', steps: 4, issuedAt: 7, orphanedAt: 9 },
    ranges: [{ epoch: 0, first: 40, count: 16 }],
  }
  const contribution = {
    ...{ volunteer: 'ann-00001', steps: 4, tokens: 512, weight: 512.0, hash: HASH, mean: null, bytes: 24 },
    trainLoss: 6.25,
  }
  const replica = { lease: 'lease-002', round: 2, untold: [{ tokens: 0, rates: 0.004 }] }
  const config = defaultRunConfig('nano')
  const saved = {
    ...{ run: RUN, config, sequenceLength: 64, sequencesPerEpoch: 1_000, parameters: 1_000 },
    ...{ status: 'running', phase: 'training', round: 2, era: 1, openedAt: 5, deadlineAt: 60_000 },
    fragments: [{ base: BASE, deltas: [{ from: HASH, hash: HASH, bytes: 12, codec: 'int8' }] }],
    ...{ remaining: null, extensions: 1 },
    pool: { epoch: 0, cursor: 64, returned: [{ epoch: 0, first: 8, count: 8 }] },
    leases: { 'lease-003': lease },
    accepted: { 'lease-002': contribution },
    refusals: { 'bob-00001': 1 },
    replicas: { 'ann-00001': replica },
    paces: { 'ann-00001': { tokensPerSecond: 12.5, missed: 0 } },
    ...{ median: { speed: null, changes: 1 }, present: {}, gone: {} },
  }

  /** @param machine what its run's row had */
  async function write(machine: string): Promise<void> {
    const connection = new SQLite(file)
    const db = new Kysely({ dialect: new SqliteDialect({ database: connection }) })
    const { '011-machine-rows': _, ...before } = migrations
    await new Migrator({ db, provider: { getMigrations: async () => before } }).migrateToLatest()
    connection
      .prepare("insert into runs (id, status, config, machine, created_at) values (?, 'prepared', ?, ?, 1)")
      .run(RUN, JSON.stringify(config), machine)
    await db.destroy()
  }

  it('is carried over: the round under way is what it was, and goes on', async () => {
    await write(JSON.stringify(saved))
    const store = await openSqliteStore(file)
    const machine = (await store.latestRun())?.machine
    if (!machine) throw new Error('The machine is lost.')
    expect(machine).toEqual(machineSchema.parse(saved))
    expect(JSON.parse(JSON.stringify(machine))).toMatchObject(saved)
    const { state } = reduce(machine, {
      type: 'release',
      volunteer: 'bob-00001',
      lease: 'lease-003',
      now: 10,
    })
    const nothing = { granted: [], ended: [], accepted: [], refused: [], closed: null, rolledBack: null }
    await store.commit({ machine: state, ...nothing, bytesDown: 0, now: 10 })
    const read = (await store.latestRun())?.machine
    expect([read?.leases.size, read?.accepted.size, read?.pool.returned.size]).toEqual([0, 1, 2])
    await store.close()
  })

  it('shows a run of a version before that for what it was', async () => {
    await write(JSON.stringify({ run: RUN, base: BASE, pool: { epoch: 0, cursor: 8 }, leases: {} }))
    const store = await openSqliteStore(file)
    expect(await store.latestRun()).toMatchObject({ status: 'failed', machine: null })
    await store.close()
  })

  it.each([
    ['no JSON', '{"run": "run-0'],
    ['no state', '{"pool": 7}'],
    ['nothing', 'null'],
  ])('whose state is %s answers bad-state, and opens', async (_name, machine) => {
    await write(machine)
    const store = await openSqliteStore(file)
    await expect(store.latestRun()).rejects.toMatchObject({ code: 'bad-state' })
    expect(await store.volunteers(10)).toEqual([])
    await store.close()
  })
})
