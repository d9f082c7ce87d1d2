/** The migration of a round machine's state from one JSON in its run's row to rows. */
import { type Kysely, type Migration, sql } from 'kysely'

/** Of a state as it was then: fields whose entries become rows. Its pool's ranges do, too. */
const BOOKS = ['leases', 'accepted', 'refusals', 'replicas', 'paces']
/** Nothing of these was kept. */
const FORGOTTEN = ['median', 'present', 'gone']

type Row = readonly [part: string, id: string, value: unknown]

export const machineRows: Migration = {
  async up(db: Kysely<unknown>) {
    await sql`create table machine_rows (run text not null references runs (id), part text not null, id text not null,
      value text not null, primary key (run, part, id)) without rowid`.execute(db)
    await sql`alter table runs add column commits integer not null default 0`.execute(db)
    const { rows } = await sql<{ id: string; machine: string }>`select id, machine from runs
      where machine is not null`.execute(db)
    for (const { id: run, machine } of rows) {
      for (const [part, id, value] of rowsOf(machine))
        await sql`insert into machine_rows values (${run}, ${part}, ${id}, ${value})`.execute(db)
    }
    await sql`alter table runs drop column machine`.execute(db)
  },
}

/** What is damaged stays, as a piece that no state has. */
function rowsOf(machine: string): (readonly [part: string, id: string, json: string])[] {
  try {
    return piecesOf(JSON.parse(machine)).map(([part, id, value]) => [part, id, JSON.stringify(value)])
  } catch {
    return [['damaged', '', machine]]
  }
}

const piecesOf = (saved: object): Row[] =>
  Object.entries(saved).flatMap(([part, value]): Row[] => {
    if (FORGOTTEN.includes(part)) return []
    if (BOOKS.includes(part)) return Object.entries(value).map(([id, entry]) => [part, id, entry])
    return part === 'pool' ? piecesOfPool(value) : [[part, '', value]]
  })

function piecesOfPool({ returned = [], ...pool }: { returned?: { epoch: number; first: number }[] }): Row[] {
  const ranges = returned.map((range): Row => ['returned', `${range.epoch}/${range.first}`, range])
  return [['pool', '', pool], ...ranges]
}
