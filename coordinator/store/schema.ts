/** The tables, as types and as migrations. Add a migration to change one; never edit one that has shipped. */
import { type Generated, type Kysely, type Migration, sql } from 'kysely'
import type { Backend } from '../../shared/engine/engine.ts'
import type { TaskName } from '../../shared/evaluate/tasks.ts'
import type { PresetName } from '../../shared/model/config.ts'
import type { RejectionReason } from '../../shared/protocol/run.ts'
import type { LeaseEnd } from '../rounds/events.ts'
import { first } from './firstTables.ts'
import { machineRows } from './toMachineRows.ts'

export interface Database {
  settings: { key: string; value: string }
  volunteers: {
    id: string
    name: string
    /** SHA-256 of the secret the tab keeps. */
    token_hash: string
    backend: Backend | null
    device: string
    tokens_per_second: number | null
    removed: string | null
    created_at: number
    last_seen_at: number
  }
  runs: {
    id: string
    status: 'preparing' | 'failed' | 'prepared'
    problem: string | null
    config: string
    /** Of the round machine's state, so far. */
    commits: Generated<number>
    manifest: string | null
    /** Hashes of the fragments, as JSON. */
    initial_weights: string | null
    initial_val_loss: number | null
    initial_bits_per_byte: number | null
    /** Sent in the round under way. */
    bytes_down: Generated<number>
    /** StartingPoint as JSON; null for untrained weights. */
    start: Generated<string | null>
    created_at: number
  }
  /** The round machine's state: a row a piece, with its JSON (machineRows.ts). */
  machine_rows: { run: string; part: string; id: string; value: string }
  leases: {
    id: string
    run: string
    round: number
    volunteer: string
    steps: number
    ranges: string
    issued_at: number
    ended: LeaseEnd | null
  }
  contributions: {
    id: Generated<number>
    lease: string
    run: string
    round: number
    volunteer: string
    result: 'accepted' | 'rejected'
    reason: RejectionReason | null
    hash: string | null
    /** Of the group's mean that stands for it in the vault; null when it came by itself. */
    mean: string | null
    bytes: number
    steps: number
    tokens: number
    /** In the round's mean, in tokens. */
    weight: number
    train_loss: number | null
    /** 1 once the round it counts in is committed. */
    merged: number
    /** 1 once its round was rolled back. */
    discarded: Generated<number>
    at: number
  }
  rounds: {
    run: string
    round: number
    fragment: number
    replicas: number
    tokens: number
    steps: number
    train_loss: number
    val_loss: number | null
    bits_per_byte: number | null
    seconds: number
    bytes_up: number
    bytes_down: number
    outer_learning_rate: number
    weights_before: string
    exact_before: string | null
    velocity_before: string | null
    weights_after: string
    exact_after: string | null
    velocity_after: string | null
    /** Null in rounds from before deltas were published. */
    delta: string | null
    leases: string
    closed_at: number
  }
  samples: { run: string; round: number; text: string }
  evaluations: {
    run: string
    /** 0 is the untrained model. */
    round: number
    /** `validation`, or the name of a zero-shot task. */
    kind: string
    /** Hashes of the fragments that were measured, as JSON. */
    weights: string
    /** Hash of what they were measured on. */
    data: string
    /** Sequences, or the task's examples. */
    examples: number
    measured_by: 'coordinator' | 'volunteers'
    seconds: number
    nats: number | null
    tokens: number | null
    bytes: number | null
    accuracy: number | null
    standard_error: number | null
    accuracy_normalised: number | null
    standard_error_normalised: number | null
    chance: number | null
    at: number
  }
  /** `fragments` and `pool` as JSON: rounds/state.ts's Checkpoint. */
  checkpoints: { run: string; round: number; fragments: string; pool: string; at: number }
  /** What lies on disk because a run made it or took it in. */
  run_files: RunFile
  rollbacks: {
    run: string
    /** That it began. */
    era: number
    from_round: number
    to_round: number
    /** Accepted contributions that no longer count in the run, and their tokens. */
    contributions: number
    tokens: number
    at: number
  }
  /** Rows of `rounds` that were rolled back, whole, as JSON; `era` is the one they stood in. */
  discarded_rounds: { run: string; era: number; round: number; record: string }
  /** Weights that the operator brought, whole and flat in the vault. */
  imports: {
    hash: string
    name: string
    preset: PresetName
    vocab_size: number
    largest: number
    at: number
  }
  /** Texts that the operator imported; `hash` is of the index, a public blob that names the others. */
  corpora: {
    id: string
    name: string
    source: string
    licence: string
    hash: string
    vocab_size: number
    documents: number
    /** To train on, end-of-text included, and the bytes of text that they stand for. */
    tokens: number
    bytes: number
    validation_tokens: number
    broken: number
    sample: string
    at: number
  }
  /** Zero-shot tasks that were imported; `data` is the hash of their examples in a folder of their own. */
  tasks: { name: TaskName; data: string; examples: number; source: string; at: number }
}

export interface RunFile {
  readonly run: string
  readonly store: 'blobs' | 'vault'
  readonly hash: string
}

/** Rounds of one fragment each, with the exact weights and the published delta beside them. */
const fragments: Migration = {
  async up(db: Kysely<unknown>) {
    const add = async (table: string, column: string, type: 'integer' | 'text') => {
      const number = type === 'integer'
      await db.schema
        .alterTable(table)
        .addColumn(column, type, (c) => (number ? c.notNull().defaultTo(0) : c))
        .execute()
    }
    await add('contributions', 'weight', 'integer')
    await add('rounds', 'fragment', 'integer')
    await add('rounds', 'steps', 'integer')
    for (const column of ['exact_before', 'exact_after', 'delta']) await add('rounds', column, 'text')
  },
}

/** What the round under way has sent, so that a restart does not forget it. */
const bytesDown: Migration = {
  async up(db: Kysely<unknown>) {
    await db.schema
      .alterTable('runs')
      .addColumn('bytes_down', 'bigint', (c) => c.notNull().defaultTo(0))
      .execute()
  },
}

/** What was measured of which weights on which data, and by whom. */
const evaluations: Migration = {
  async up(db: Kysely<unknown>) {
    let table = db.schema
      .createTable('evaluations')
      .ifNotExists()
      .addColumn('run', 'text', (c) => c.notNull().references('runs.id'))
      .addColumn('round', 'integer', (c) => c.notNull())
      .addColumn('kind', 'text', (c) => c.notNull())
      .addColumn('weights', 'text', (c) => c.notNull())
      .addColumn('data', 'text', (c) => c.notNull())
      .addColumn('examples', 'integer', (c) => c.notNull())
      .addColumn('measured_by', 'text', (c) => c.notNull())
      .addColumn('seconds', 'real', (c) => c.notNull())
      .addColumn('tokens', 'bigint')
      .addColumn('bytes', 'bigint')
    const numbers = ['nats', 'accuracy', 'standard_error', 'accuracy_normalised', 'standard_error_normalised']
    for (const column of [...numbers, 'chance']) table = table.addColumn(column, 'real')
    await table
      .addColumn('at', 'bigint', (c) => c.notNull())
      .addPrimaryKeyConstraint('evaluations_key', ['run', 'round', 'kind'])
      .execute()
  },
}

const checkpoints: Migration = {
  async up(db: Kysely<unknown>) {
    await addColumn(db, 'runs', 'start', 'text')
    await addColumn(db, 'contributions', 'discarded', 'integer not null default 0')
    const statements = [
      `create table if not exists checkpoints (run text not null references runs (id), round integer not null,
        fragments text not null, pool text not null, at bigint not null, primary key (run, round))`,
      `create table if not exists run_files (run text not null references runs (id), store text not null,
        hash text not null, primary key (run, store, hash))`,
      'create index if not exists run_files_hash on run_files (hash)',
      `create table if not exists rollbacks (run text not null references runs (id), era integer not null,
        from_round integer not null, to_round integer not null, contributions integer not null,
        tokens bigint not null, at bigint not null, primary key (run, era))`,
      `create table if not exists discarded_rounds (run text not null references runs (id), era integer not null,
        round integer not null, record text not null, primary key (run, era, round))`,
      `create table if not exists imports (hash text primary key, name text not null, preset text not null,
        vocab_size integer not null, largest real not null, at bigint not null)`,
      ...FILES_SO_FAR.map(
        ([store, column, table]) => `insert or ignore into run_files select run, '${store}', ${column}
          from ${table} as had where ${column} is not null and round >
          (select max(round) from rounds where rounds.run = had.run) - ${ROUNDS_ON_DISK}`,
      ),
    ]
    for (const statement of statements) await sql.raw(statement).execute(db)
  },
}

const groups: Migration = {
  async up(db: Kysely<unknown>) {
    await addColumn(db, 'contributions', 'mean', 'text')
  },
}

/** Rounds whose files may lie on disk when this migration runs: three of each fragment, of which there are 48 at most. */
const ROUNDS_ON_DISK = 3 * 48
const FILES_SO_FAR = [
  ...['weights_before', 'weights_after', 'delta'].map((column) => ['blobs', column, 'rounds']),
  ...['exact_before', 'velocity_before', 'exact_after', 'velocity_after'].map((c) => ['vault', c, 'rounds']),
  ['vault', 'hash', 'contributions'],
]

async function addColumn(db: Kysely<unknown>, table: string, column: string, type: string): Promise<void> {
  const { rows } = await sql<{ name: string }>`select name from pragma_table_info(${table})`.execute(db)
  if (rows.some(({ name }) => name === column)) return
  await sql.raw(`alter table ${table} add column ${column} ${type}`).execute(db)
}

const corpora: Migration = {
  async up(db: Kysely<unknown>) {
    await sql
      .raw(`create table if not exists corpora (id text primary key, name text not null, source text not null,
        licence text not null, hash text not null, vocab_size integer not null, documents bigint not null,
        tokens bigint not null, bytes bigint not null, validation_tokens bigint not null, broken bigint not null,
        sample text not null, at bigint not null)`)
      .execute(db)
  },
}

const tasks: Migration = {
  async up(db: Kysely<unknown>) {
    await sql`create table if not exists tasks (name text primary key, data text not null, examples integer not null,
      source text not null, at bigint not null)`.execute(db)
  },
}

/** Contributions as they are asked for when a round closes: without them that is a look at all there ever were. */
const contributionIndexes: Migration = {
  async up(db: Kysely<unknown>) {
    const statements = [
      'create index if not exists contributions_round on contributions (run, round)',
      "create index if not exists contributions_people on contributions (run, volunteer) where result = 'accepted'",
    ]
    for (const statement of statements) await sql.raw(statement).execute(db)
  },
}

export const migrations: Record<string, Migration> = {
  '001-first': first,
  '002-fragments': fragments,
  '003-bytes-down': bytesDown,
  '006-evaluations': evaluations,
  '007-checkpoints': checkpoints,
  '008-corpora': corpora,
  '009-tasks': tasks,
  '010-groups': groups,
  '011-machine-rows': machineRows,
  '012-contribution-indexes': contributionIndexes,
}
