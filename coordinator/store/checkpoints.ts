/** The tables of checkpoints, of roll-backs, and of the files that runs have on disk, for sqlite.ts. */
import type { Kysely, Transaction } from 'kysely'
import type { RolledBack } from '../rounds/events.ts'
import { type Checkpoint, checkpointSchema, type FragmentBase } from '../rounds/state.ts'
import type { CheckpointRecord, MetadataStore } from './metadata.ts'
import type { Database, RunFile } from './schema.ts'

export const checkpoints = (db: Kysely<Database>) =>
  ({
    async checkpoints(run) {
      const rows = await db
        .selectFrom('checkpoints as c')
        .innerJoin('runs', 'runs.id', 'c.run')
        .leftJoin('rounds', (join) =>
          join.onRef('rounds.run', '=', 'c.run').onRef('rounds.round', '=', 'c.round'),
        )
        .select([
          'c.run',
          'c.round',
          'c.fragments',
          'c.pool',
          'c.at',
          'train_loss',
          'val_loss',
          'bits_per_byte',
        ])
        .select(['initial_val_loss', 'initial_bits_per_byte'])
        .$if(run !== null, (query) => query.where('c.run', '=', run ?? ''))
        .orderBy('runs.created_at')
        .orderBy('c.round')
        .execute()
      return rows.map(
        (row): CheckpointRecord => ({
          ...checkpointFrom(row),
          run: row.run,
          valLoss: row.round === 0 ? row.initial_val_loss : row.val_loss,
          bitsPerByte: row.round === 0 ? row.initial_bits_per_byte : row.bits_per_byte,
          trainLoss: row.train_loss,
          at: row.at,
        }),
      )
    },
    async dropCheckpoints(run, rounds) {
      await db
        .deleteFrom('checkpoints')
        .where('run', '=', run)
        .where('round', 'in', [...rounds])
        .execute()
    },
    files: (run) => db.selectFrom('run_files').select(['store', 'hash']).where('run', '=', run).execute(),
    noteFiles: (files) => noteFiles(db, files),
    async forgetFile({ run, store, hash }) {
      await db
        .deleteFrom('run_files')
        .where('run', '=', run)
        .where('store', '=', store)
        .where('hash', '=', hash)
        .execute()
    },
    async heldElsewhere({ run, store, hash }) {
      const other = await db
        .selectFrom('run_files')
        .select('run')
        .where('hash', '=', hash)
        .where('store', '=', store)
        .where('run', '!=', run)
        .executeTakeFirst()
      if (other) return true
      if (store === 'blobs') return false
      return (await db.selectFrom('imports').select('hash').where('hash', '=', hash).execute()).length > 0
    },
    async rollbacks(run) {
      const rows = await db
        .selectFrom('rollbacks')
        .selectAll()
        .where('run', '=', run)
        .orderBy('era', 'desc')
        .execute()
      return rows.map(({ era, from_round, to_round, contributions, tokens, at }) => ({
        ...{ era, from: from_round, to: to_round, contributions, tokens, at },
      }))
    },
    async discardedRounds(run, limit) {
      const rows = await db
        .selectFrom('discarded_rounds')
        .selectAll()
        .where('run', '=', run)
        .orderBy('era', 'desc')
        .orderBy('round', 'desc')
        .limit(limit)
        .execute()
      return rows.map(({ era, record }) => {
        const row: Database['rounds'] = JSON.parse(record) // as writeRollback wrote it
        return { era, ...summaryOf(row) }
      })
    },
    async imports() {
      const rows = await db.selectFrom('imports').selectAll().orderBy('at', 'desc').execute()
      return rows.map(({ vocab_size, ...row }) => ({ ...row, vocabSize: vocab_size }))
    },
    async addImport({ vocabSize, ...imported }) {
      const row = { ...imported, vocab_size: vocabSize }
      await db
        .insertInto('imports')
        .values(row)
        .onConflict((c) => c.column('hash').doUpdateSet(row))
        .execute()
    },
    async dropImport(hash) {
      await db.deleteFrom('imports').where('hash', '=', hash).execute()
    },
  }) satisfies Partial<MetadataStore>

const checkpointFrom = (row: { round: number; fragments: string; pool: string }): Checkpoint =>
  checkpointSchema.parse({
    round: row.round,
    fragments: JSON.parse(row.fragments),
    pool: JSON.parse(row.pool),
  })

/** The columns of which `summaryOf` makes a round's summary. */
export const SUMMARY = [
  ...(['round', 'replicas', 'tokens', 'steps', 'train_loss', 'val_loss', 'bits_per_byte'] as const),
  ...(['seconds', 'bytes_up', 'bytes_down', 'outer_learning_rate', 'closed_at'] as const),
] as const

export const summaryOf = (row: Pick<Database['rounds'], (typeof SUMMARY)[number]>) => ({
  round: row.round,
  replicas: row.replicas,
  tokens: row.tokens,
  steps: row.steps,
  trainLoss: row.train_loss,
  valLoss: row.val_loss,
  bitsPerByte: row.bits_per_byte,
  seconds: row.seconds,
  bytesUp: row.bytes_up,
  bytesDown: row.bytes_down,
  outerLearningRate: row.outer_learning_rate,
  closedAt: row.closed_at,
})

export const filesOf = (run: string, bases: readonly FragmentBase[]): RunFile[] =>
  bases.flatMap(({ weights, exact, velocity }) => [
    { run, store: 'blobs' as const, hash: weights },
    ...[exact, velocity].flatMap((hash) => (hash === null ? [] : { run, store: 'vault' as const, hash })),
  ])

export async function noteFiles(db: Kysely<Database>, files: readonly RunFile[]): Promise<void> {
  for (const file of files) {
    await db
      .insertInto('run_files')
      .values(file)
      .onConflict((c) => c.doNothing())
      .execute()
  }
}

export async function writeCheckpoint(
  t: Transaction<Database>,
  run: string,
  { round, fragments, pool }: Checkpoint,
  at: number,
): Promise<void> {
  const row = { run, round, fragments: JSON.stringify(fragments), pool: JSON.stringify(pool), at }
  await t.insertInto('checkpoints').values(row).execute()
}

/** Rounds after `to` leave the run and stay in its history; what was sent for them is marked, and stays counted. */
export async function writeRollback(
  t: Transaction<Database>,
  run: string,
  { from, to, era }: RolledBack,
  at: number,
): Promise<void> {
  const rows = await t
    .selectFrom('rounds')
    .selectAll()
    .where('run', '=', run)
    .where('round', '>', to)
    .execute()
  for (const row of rows) {
    const discarded = { run, era: era - 1, round: row.round, record: JSON.stringify(row) }
    await t.insertInto('discarded_rounds').values(discarded).execute()
  }
  for (const table of ['rounds', 'checkpoints', 'samples', 'evaluations'] as const) {
    await t.deleteFrom(table).where('run', '=', run).where('round', '>', to).execute()
  }
  const marked = await t
    .updateTable('contributions')
    .set({ discarded: 1 })
    .where('run', '=', run)
    .where('round', '>', to)
    .where('result', '=', 'accepted')
    .where('discarded', '=', 0)
    .returning('tokens')
    .execute()
  const tokens = marked.reduce((sum, row) => sum + row.tokens, 0)
  const counted = { contributions: marked.length, tokens }
  await t
    .insertInto('rollbacks')
    .values({ run, era, from_round: from, to_round: to, ...counted, at })
    .execute()
}
