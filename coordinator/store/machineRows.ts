/**
 * The round machine's state in rows, a row a piece (rounds/kept.ts): a commit writes those that have changed since the last
 * one. Which commit the rows are of is counted in the run's row, so whoever has not written the last one itself, or does
 * not know whether it did, writes them all.
 */
import type { Kysely, Transaction } from 'kysely'
import { changes, joined, type Piece } from '../rounds/kept.ts'
import type { Machine } from '../rounds/state.ts'
import type { Database } from './schema.ts'

/** A state that the database has unless somebody has written another one since. */
export interface Written {
  readonly machine: Machine
  readonly commits: number
}

/** Rows in one statement: SQLite takes some 32,000 values. */
const AT_ONCE = 1_000

/** Writes the state in a transaction, and answers what is written once that is durable. `last` may be out of date. */
export async function writeMachine(
  t: Transaction<Database>,
  machine: Machine,
  last: Written | null,
): Promise<Written> {
  const { run } = machine
  const { commits } = await t
    .updateTable('runs')
    .set((e) => ({ commits: e('commits', '+', 1) }))
    .where('id', '=', run)
    .returning('commits')
    .executeTakeFirstOrThrow()
  const known = last?.machine.run === run && last.commits === commits - 1 ? last.machine : null
  if (known === null) await t.deleteFrom('machine_rows').where('run', '=', run).execute()
  const pieces = [...changes(known, machine)]
  await put(t, run, pieces)
  await drop(t, run, pieces)
  return { machine, commits }
}

/** As the rows have it, not checked; null when there are none. */
export async function readMachine(db: Kysely<Database>, run: string): Promise<unknown> {
  const rows = await db
    .selectFrom('machine_rows')
    .select(['part', 'id', 'value'])
    .where('run', '=', run)
    .execute()
  return rows.length === 0 ? null : joined(rows.map((row) => ({ ...row, value: fromJson(row.value) })))
}

async function put(t: Transaction<Database>, run: string, pieces: readonly Piece[]): Promise<void> {
  const rows = pieces.flatMap(({ part, id, value }) =>
    value === undefined ? [] : [{ run, part, id, value: JSON.stringify(value) }],
  )
  for (let i = 0; i < rows.length; i += AT_ONCE) {
    await t
      .insertInto('machine_rows')
      .values(rows.slice(i, i + AT_ONCE))
      .onConflict((c) =>
        c.columns(['run', 'part', 'id']).doUpdateSet((e) => ({ value: e.ref('excluded.value') })),
      )
      .execute()
  }
}

async function drop(t: Transaction<Database>, run: string, pieces: readonly Piece[]): Promise<void> {
  const gone = pieces.filter(({ value }) => value === undefined)
  for (const part of new Set(gone.map((piece) => piece.part))) {
    const ids = gone.flatMap((piece) => (piece.part === part ? [piece.id] : []))
    for (let i = 0; i < ids.length; i += AT_ONCE) {
      await t
        .deleteFrom('machine_rows')
        .where('run', '=', run)
        .where('part', '=', part)
        .where('id', 'in', ids.slice(i, i + AT_ONCE))
        .execute()
    }
  }
}

/** What is not JSON becomes `undefined`, which no schema accepts. */
export function fromJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
