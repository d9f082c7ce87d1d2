/** Runs in the database, from their making to their machine's state. */
import type { Kysely, Selectable, SelectQueryBuilder, Transaction } from 'kysely'
import { z } from 'zod'
import { PotluckError } from '../../shared/protocol/errors.ts'
import { hashSchema, runConfigSchema } from '../../shared/protocol/run.ts'
import { checkpointOf, machineSchema } from '../rounds/state.ts'
import { filesOf, noteFiles, writeCheckpoint } from './checkpoints.ts'
import { fromJson, readMachine, writeMachine } from './machineRows.ts'
import type { MetadataStore, RunRecord } from './metadata.ts'
import { isOlderMachine, OLDER_RUN, withChoices } from './olderRuns.ts'
import type { Database } from './schema.ts'
import { startingPointSchema } from './startingPoint.ts'

export const runs = (db: Kysely<Database>) =>
  ({
    async createRun({ id, config, start = null, now }) {
      const empty = { problem: null, manifest: null, initial_weights: null }
      const evaluation = { initial_val_loss: null, initial_bits_per_byte: null }
      const row = { id, config: JSON.stringify(config), status: 'preparing' as const, created_at: now }
      const from = { start: start && JSON.stringify(start) }
      await db.transaction().execute(async (t) => {
        await t
          .insertInto('runs')
          .values({ ...row, ...from, ...empty, ...evaluation })
          .execute()
        if (start?.kind === 'checkpoint') await noteFiles(t, filesOf(id, start.fragments))
        if (start?.kind === 'import') await noteFiles(t, [{ run: id, store: 'vault', hash: start.hash }])
      })
    },
    run: (id) => readRun(db, (t) => t.selectFrom('runs').selectAll().where('id', '=', id)),
    latestRun: () =>
      readRun(db, (t) => t.selectFrom('runs').selectAll().orderBy('created_at', 'desc').limit(1)),
    async failRun(run, problem) {
      await db.updateTable('runs').set({ status: 'failed', problem }).where('id', '=', run).execute()
    },
    async prepareRun(run, machine, manifest) {
      const prepared = {
        manifest,
        initial_weights: JSON.stringify(machine.fragments.map(({ base }) => base.weights)),
      }
      await db.transaction().execute(async (t) => {
        const row = await t
          .updateTable('runs')
          .set((e) => ({ status: 'prepared', ...prepared, commits: e('commits', '+', 1) }))
          .where('id', '=', run)
          .returning(['created_at', 'commits'])
          .executeTakeFirstOrThrow()
        await writeMachine(t, { machine, commits: row.commits }, null)
        await writeCheckpoint(t, run, checkpointOf(machine), row.created_at)
        await noteFiles(
          t,
          filesOf(
            run,
            machine.fragments.map(({ base }) => base),
          ),
        )
      })
    },
  }) satisfies Partial<MetadataStore>

/** A run's row and its machine's rows, as they are between two commits. */
const readRun = (
  db: Kysely<Database>,
  select: (t: Transaction<Database>) => SelectQueryBuilder<Database, 'runs', Selectable<Database['runs']>>,
): Promise<RunRecord | null> =>
  db.transaction().execute(async (t) => {
    const row = await select(t).executeTakeFirst()
    return row ? runOf(row, await readMachine(t, row.id)) : null
  })

/** Runs from before there were fragments have a bare hash. */
const hashesOf = (text: string): string[] => {
  const hashes = z.array(hashSchema).safeParse(fromJson(text))
  return hashes.success ? hashes.data : [text]
}

/** `saved` is its machine, not checked. */
function runOf(row: Selectable<Database['runs']>, saved: unknown): RunRecord {
  const config = runConfigSchema.safeParse(withChoices(fromJson(row.config)))
  const older = isOlderMachine(saved)
  const unprepared = saved === null && row.status !== 'prepared'
  const machine = unprepared || older ? null : machineSchema.safeParse(saved)
  const start = row.start === null ? null : startingPointSchema.safeParse(fromJson(row.start))
  if (!config.success || machine?.success === false || start?.success === false) {
    const fault = config.error?.issues[0] ?? machine?.error?.issues[0] ?? start?.error?.issues[0]
    throw new PotluckError(
      'bad-state',
      `The saved state of run ${row.id} is damaged (${fault?.path.join('.')}: ${fault?.message}). Restore the data folder from a backup.`,
      500,
    )
  }
  return {
    id: row.id,
    config: config.data,
    status: older ? 'failed' : row.status,
    problem: older ? OLDER_RUN : row.problem,
    machine: machine?.data ?? null,
    manifest: row.manifest,
    initialWeights: row.initial_weights === null ? null : hashesOf(row.initial_weights),
    initialValLoss: row.initial_val_loss,
    initialBitsPerByte: row.initial_bits_per_byte,
    bytesDown: row.bytes_down,
    start: start?.data ?? null,
    createdAt: row.created_at,
  }
}
