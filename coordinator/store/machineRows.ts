/**
 * The round machine's state in rows, a row a piece (rounds/kept.ts): a commit writes those that have changed since the last
 * one. The run's row counts its commits, so whoever has not written the last one itself, or does not know whether it did,
 * writes them all.
 */
import { type Kysely, sql, type Transaction } from 'kysely'
import { changes, joined, type Piece } from '../rounds/kept.ts'
import type { Machine } from '../rounds/state.ts'
import type { Database } from './schema.ts'

/** A state, and which of its run's commits has written it. */
export interface Written {
  readonly machine: Machine
  readonly commits: number
}

/** Writes a state as its run's commit of that number. `last` is what this process has written, and may be out of date. */
export async function writeMachine(
  t: Transaction<Database>,
  { machine, commits }: Written,
  last: Written | null,
): Promise<void> {
  const { run } = machine
  const known = last?.machine.run === run && last.commits === commits - 1 ? last.machine : null
  if (known === null) await t.deleteFrom('machine_rows').where('run', '=', run).execute()
  const pieces = [...changes(known, machine)]
  await put(t, run, pieces)
  await drop(t, run, pieces)
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

/** In one statement, however many they are. */
async function put(t: Transaction<Database>, run: string, pieces: readonly Piece[]): Promise<void> {
  const rows = pieces.flatMap(({ part, id, value }) =>
    value === undefined ? [] : [[part, id, JSON.stringify(value)]],
  )
  if (rows.length === 0) return
  await sql`insert into machine_rows (run, part, id, value)
    select ${run}, value ->> 0, value ->> 1, value ->> 2 from json_each(${JSON.stringify(rows)}) where true
    on conflict (run, part, id) do update set value = excluded.value`.execute(t)
}

async function drop(t: Transaction<Database>, run: string, pieces: readonly Piece[]): Promise<void> {
  const gone = pieces.flatMap(({ part, id, value }) => (value === undefined ? [[part, id]] : []))
  if (gone.length === 0) return
  await sql`delete from machine_rows where run = ${run}
    and (part, id) in (select value ->> 0, value ->> 1 from json_each(${JSON.stringify(gone)}))`.execute(t)
}

/** What is not JSON becomes `undefined`, which no schema accepts. */
export function fromJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
