/**
 * Metadata in one SQLite file: write-ahead log, synchronous FULL, so a committed transaction survives kill -9 and
 * power loss alike. Numbers that people see are counted from rows, never kept beside them.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import SQLite from 'better-sqlite3'
import { Kysely, Migrator, SqliteDialect, sql, type Transaction } from 'kysely'
import { PotluckError } from '../../shared/protocol/errors.ts'
import type { RoundSummary } from '../../shared/protocol/run.ts'
import {
  checkpoints,
  filesOf,
  noteFiles,
  SUMMARY,
  summaryOf,
  writeCheckpoint,
  writeRollback,
} from './checkpoints.ts'
import { corpora } from './corpora.ts'
import { evaluations } from './evaluations.ts'
import { type Written, writeMachine } from './machineRows.ts'
import type { Commit, Credit, MetadataStore, VolunteerRecord } from './metadata.ts'
import { runs } from './runs.ts'
import { type Database, migrations } from './schema.ts'
import { taskData } from './taskData.ts'

export async function openSqliteStore(file: string): Promise<MetadataStore> {
  try {
    const db = new Kysely<Database>({ dialect: new SqliteDialect({ database: connect(file) }) })
    const migrator = new Migrator({
      db,
      provider: { getMigrations: async () => migrations },
      allowUnorderedMigrations: true, // each adds what is its own, and they were not finished in the order of their numbers
    })
    const { error } = await migrator.migrateToLatest()
    if (error) throw error
    return metadataStore(db)
  } catch (error) {
    throw new PotluckError('bad-state', `The database ${file} could not be opened: ${String(error)}`, 500)
  }
}

function connect(file: string): SQLite.Database {
  const connection = new SQLite(file)
  connection.pragma('journal_mode = WAL')
  connection.pragma('synchronous = FULL')
  connection.pragma('busy_timeout = 5000')
  return connection
}

function metadataStore(db: Kysely<Database>): MetadataStore {
  let written: Written | null = null
  return {
    ...settings(db),
    ...volunteers(db),
    ...runs(db),
    ...history(db),
    ...evaluations(db),
    ...checkpoints(db),
    ...corpora(db),
    ...taskData(db),
    async commit(commit) {
      await nextTurn() // commits come in crowds, and each holds up the event loop until the disk has it
      written = await db.transaction().execute((transaction) => write(transaction, commit, written))
    },
    close: () => db.destroy(),
  }
}

const settings = (db: Kysely<Database>) => ({
  async setting(key: string) {
    const row = await db.selectFrom('settings').select('value').where('key', '=', key).executeTakeFirst()
    return row?.value ?? null
  },
  async setSetting(key: string, value: string | null) {
    if (value === null) await db.deleteFrom('settings').where('key', '=', key).execute()
    else {
      const row = { key, value }
      await db
        .insertInto('settings')
        .values(row)
        .onConflict((c) => c.column('key').doUpdateSet(row))
        .execute()
    }
  },
})

const volunteers = (db: Kysely<Database>) =>
  ({
    async createVolunteer({ id, name, tokenHash, now }) {
      const seen = { backend: null, device: '', tokens_per_second: null, removed: null, last_seen_at: now }
      await db
        .insertInto('volunteers')
        .values({ id, name, token_hash: tokenHash, created_at: now, ...seen })
        .execute()
    },
    async volunteerByToken(tokenHash) {
      const row = await db
        .selectFrom('volunteers')
        .selectAll()
        .where('token_hash', '=', tokenHash)
        .executeTakeFirst()
      return row ? volunteerOf(row) : null
    },
    async updateVolunteer(id, change) {
      const columns = {
        ...('backend' in change && { backend: change.backend }),
        ...('device' in change && { device: change.device }),
        ...('tokensPerSecond' in change && { tokens_per_second: change.tokensPerSecond }),
        ...('removed' in change && { removed: change.removed }),
        ...('lastSeenAt' in change && { last_seen_at: change.lastSeenAt }),
      }
      await db.updateTable('volunteers').set(columns).where('id', '=', id).execute()
    },
    async volunteers(limit) {
      const rows = await db
        .selectFrom('volunteers')
        .selectAll()
        .orderBy('last_seen_at', 'desc')
        .limit(limit)
        .execute()
      return rows.map(volunteerOf)
    },
    async credit(ids) {
      const rows = await db
        .selectFrom('contributions')
        .select(['volunteer', sql<number>`sum(result = 'accepted')`.as('accepted')])
        .select([
          sql<number>`sum(result = 'rejected')`.as('rejected'),
          sql<number>`sum(tokens * merged)`.as('tokens'),
        ])
        .where('volunteer', 'in', [...ids])
        .groupBy('volunteer')
        .execute()
      return new Map<string, Credit>(rows.map(({ volunteer, ...credit }) => [volunteer, credit]))
    },
  }) satisfies Partial<MetadataStore>

const volunteerOf = (row: Database['volunteers']): VolunteerRecord => ({
  id: row.id,
  name: row.name,
  backend: row.backend,
  device: row.device,
  tokensPerSecond: row.tokens_per_second,
  removed: row.removed,
  lastSeenAt: row.last_seen_at,
})

const history = (db: Kysely<Database>) =>
  ({
    async lease(id) {
      const row = await db.selectFrom('leases').selectAll().where('id', '=', id).executeTakeFirst()
      if (!row) return null
      const { ranges, ended, issued_at: _, ...rest } = row
      return { ...rest, ranges: JSON.parse(ranges), end: ended }
    },
    async contribution(lease) {
      const row = await db
        .selectFrom('contributions')
        .select(['lease', 'round', 'volunteer', 'result', 'reason', 'hash', 'tokens'])
        .where('lease', '=', lease)
        .orderBy('result') // accepted sorts before rejected
        .orderBy('id', 'desc')
        .limit(1)
        .executeTakeFirst()
      return row ?? null
    },
    async rounds(run, after) {
      const rows = await db
        .selectFrom('rounds')
        .select(SUMMARY)
        .where('run', '=', run)
        .where('round', '>', after?.round ?? 0)
        .orderBy('round')
        .execute()
      let totalTokens = after?.totalTokens ?? 0
      return rows.map((row): RoundSummary => {
        totalTokens += row.tokens
        return { ...summaryOf(row), totalTokens }
      })
    },
    async roundBlobs(run, round) {
      const rows = await db
        .selectFrom('rounds')
        .select(['round', 'weights_before', 'exact_before', 'velocity_before'])
        .where('run', '=', run)
        .where('round', '>', round)
        .execute()
      const contributions = await db
        .selectFrom('contributions')
        .select(['round', sql<string | null>`coalesce(mean, hash)`.as('blob')])
        .distinct()
        .where('run', '=', run)
        .where('round', '>', round)
        .where('merged', '=', 1)
        .where('discarded', '=', 0)
        .execute()
      return rows.map((row) => ({
        round: row.round,
        weightsBefore: row.weights_before,
        exactBefore: row.exact_before,
        velocityBefore: row.velocity_before,
        contributions: contributions.flatMap((one) => (one.round === row.round ? (one.blob ?? []) : [])),
      }))
    },
    async contributors(run) {
      // From one volunteer to the next in the index: of each it looks at one contribution.
      const next = sql`select min(volunteer) from contributions where run = ${run} and result = 'accepted'`
      const { rows } = await sql<{ people: number }>`
        with recursive people (volunteer) as (
          select (${next})
          union all
          select (${next} and volunteer > people.volunteer) from people where people.volunteer is not null
        )
        select count(volunteer) as people from people`.execute(db)
      return rows[0]?.people ?? 0
    },
    async samples(run) {
      const end = (order: 'asc' | 'desc') =>
        db
          .selectFrom('samples')
          .select(['round', 'text'])
          .where('run', '=', run)
          .orderBy('round', order)
          .limit(1)
          .executeTakeFirst()
      const [first, last] = [await end('asc'), await end('desc')]
      if (!first || !last) return []
      return first.round === last.round ? [first] : [first, last]
    },
    contributions: (run, limit) =>
      db
        .selectFrom('contributions')
        .innerJoin('volunteers', 'volunteers.id', 'contributions.volunteer')
        .select(['lease', 'volunteer', 'volunteers.name as name', 'round', 'result', 'reason', 'tokens'])
        .select(['train_loss as trainLoss', 'bytes', 'at'])
        .where('run', '=', run)
        .orderBy('contributions.id', 'desc')
        .limit(limit)
        .execute(),
  }) satisfies Partial<MetadataStore>

async function write(t: Transaction<Database>, commit: Commit, last: Written | null): Promise<Written> {
  const { machine, now } = commit
  const { run } = machine
  const { commits } = await t
    .updateTable('runs')
    .set((e) => ({ bytes_down: commit.bytesDown, commits: e('commits', '+', 1) }))
    .where('id', '=', run)
    .returning('commits')
    .executeTakeFirstOrThrow()
  await writeMachine(t, { machine, commits }, last)
  for (const { ranges, ...lease } of commit.granted) {
    const row = {
      ...lease,
      run,
      ranges: JSON.stringify(ranges),
      issued_at: now,
      ended: null,
    }
    await t
      .insertInto('leases')
      .values(row)
      .onConflict((c) => c.column('id').doNothing())
      .execute()
  }
  for (const { lease, end } of commit.ended) {
    await t.updateTable('leases').set({ ended: end }).where('id', '=', lease).execute()
  }
  const common = { run, merged: 0, at: now }
  for (const { lease, contribution } of commit.accepted) {
    const { trainLoss, ...rest } = contribution
    const accepted = { result: 'accepted' as const, reason: null, round: machine.round }
    await t
      .insertInto('contributions')
      .values({ ...common, ...accepted, lease, ...rest, train_loss: trainLoss })
      .execute()
  }
  for (const refusal of commit.refused) await insertRefusal(t, refusal, commit)
  const came = [
    ...new Set(commit.accepted.map(({ contribution: { hash, mean } }) => mean ?? hash)),
    ...commit.refused.map(({ hash }) => hash),
  ]
  await noteFiles(
    t,
    came.flatMap((hash) => (hash === null ? [] : { run, store: 'vault' as const, hash })),
  )
  if (commit.closed) {
    await writeRound(t, run, commit.closed)
    await writeCheckpoint(t, run, commit.closed.checkpoint, now)
  }
  if (commit.rolledBack) await writeRollback(t, run, commit.rolledBack, now)
  return { machine, commits }
}

async function insertRefusal(
  t: Transaction<Database>,
  { lease, volunteer, reason, hash }: Commit['refused'][number],
  { machine, now }: Commit,
): Promise<void> {
  const known = await t.selectFrom('leases').select('round').where('id', '=', lease).executeTakeFirst()
  const nothing = { mean: null, steps: 0, tokens: 0, weight: 0, bytes: 0, train_loss: null, merged: 0 }
  const round = known?.round ?? machine.round
  const refused = {
    run: machine.run,
    round,
    lease,
    volunteer,
    result: 'rejected' as const,
    reason,
    hash,
    at: now,
  }
  await t
    .insertInto('contributions')
    .values({ ...nothing, ...refused })
    .execute()
}

async function writeRound(
  t: Transaction<Database>,
  run: string,
  closed: NonNullable<Commit['closed']>,
): Promise<void> {
  await t
    .updateTable('contributions')
    .set({ merged: 1 })
    .where('lease', 'in', closed.leases)
    .where('result', '=', 'accepted')
    .execute()
  const { after, delta } = closed
  await noteFiles(t, [...filesOf(run, [after]), { run, store: 'blobs', hash: delta.hash }])
  await t
    .insertInto('rounds')
    .values({
      run,
      round: closed.round,
      fragment: closed.fragment,
      replicas: closed.replicas,
      tokens: closed.tokens,
      steps: closed.steps,
      train_loss: closed.trainLoss,
      val_loss: null,
      bits_per_byte: null,
      seconds: closed.seconds,
      bytes_up: closed.bytesUp,
      bytes_down: closed.bytesDown,
      outer_learning_rate: closed.outerLearningRate,
      weights_before: closed.before.weights,
      exact_before: closed.before.exact,
      velocity_before: closed.before.velocity,
      weights_after: closed.after.weights,
      exact_after: closed.after.exact,
      velocity_after: closed.after.velocity,
      delta: closed.delta.hash,
      leases: JSON.stringify(closed.leases),
      closed_at: closed.closedAt,
    })
    .execute()
}
