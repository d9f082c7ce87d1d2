/** The table of evaluations, for sqlite.ts. */
import type { Kysely, Transaction } from 'kysely'
import type { HeldOutEvaluation, MetadataStore, TaskEvaluation } from './metadata.ts'
import type { Database } from './schema.ts'

const VALIDATION = 'validation'

export const evaluations = (db: Kysely<Database>) =>
  ({
    async setHeldOut(run, round, evaluation) {
      await db.transaction().execute(async (t) => {
        if (!(await writeLoss(t, run, round, evaluation))) return
        await write(t, run, round, { kind: VALIDATION, ...evaluation })
        if (evaluation.sample === null) return
        const row = { run, round, text: evaluation.sample }
        await t
          .insertInto('samples')
          .values(row)
          .onConflict((c) => c.columns(['run', 'round']).doUpdateSet(row))
          .execute()
      })
    },
    async setTask(run, round, evaluation) {
      await db.transaction().execute((t) => write(t, run, round, { kind: evaluation.task, ...evaluation }))
    },
    async heldOut(run, round) {
      const row = await db
        .selectFrom('evaluations')
        .selectAll()
        .where('run', '=', run)
        .where('round', '=', round)
        .where('kind', '=', VALIDATION)
        .executeTakeFirst()
      if (!row) return null
      return {
        weights: JSON.parse(row.weights),
        data: row.data,
        examples: row.examples,
        by: row.measured_by,
        seconds: row.seconds,
        at: row.at,
        nats: row.nats ?? Number.NaN, // a held-out row has all three
        tokens: row.tokens ?? Number.NaN,
        bytes: row.bytes ?? Number.NaN,
      }
    },
    async taskResults(run) {
      const rows = await db
        .selectFrom('evaluations')
        .selectAll()
        .where('run', '=', run)
        .where('kind', '!=', VALIDATION)
        .orderBy('round')
        .orderBy('kind')
        .execute()
      return rows.map((row) => ({
        task: row.kind,
        round: row.round,
        examples: row.examples,
        plain: { accuracy: row.accuracy ?? 0, standardError: row.standard_error ?? 0 }, // a task's row has all five
        normalised: {
          accuracy: row.accuracy_normalised ?? 0,
          standardError: row.standard_error_normalised ?? 0,
        },
        chance: row.chance ?? 0,
      }))
    },
  }) satisfies Partial<MetadataStore>

async function write(
  t: Transaction<Database>,
  run: string,
  round: number,
  evaluation: { kind: string } & (HeldOutEvaluation | TaskEvaluation),
): Promise<void> {
  const { kind, weights, data, examples, by, seconds, at } = evaluation
  const common = { run, round, kind, weights: JSON.stringify(weights), data, examples, measured_by: by }
  const row = { ...common, seconds, at, ...numbersOf(evaluation) }
  await t
    .insertInto('evaluations')
    .values(row)
    .onConflict((c) => c.columns(['run', 'round', 'kind']).doUpdateSet(row))
    .execute()
}

function numbersOf(evaluation: HeldOutEvaluation | TaskEvaluation) {
  const none = { nats: null, tokens: null, bytes: null, accuracy: null, standard_error: null }
  const others = { accuracy_normalised: null, standard_error_normalised: null, chance: null }
  if ('nats' in evaluation) {
    const { nats, tokens, bytes } = evaluation
    return { ...none, ...others, nats, tokens, bytes }
  }
  const { plain, normalised, chance } = evaluation
  return {
    ...none,
    accuracy: plain.accuracy,
    standard_error: plain.standardError,
    accuracy_normalised: normalised.accuracy,
    standard_error_normalised: normalised.standardError,
    chance,
  }
}

/** Where rounds and runs are shown from. False: the round was rolled back, and one of that number has other weights. */
async function writeLoss(
  t: Transaction<Database>,
  run: string,
  round: number,
  { nats, tokens, bytes, weights }: HeldOutEvaluation,
): Promise<boolean> {
  const loss = nats / tokens
  const bits = nats / Math.LN2 / bytes
  if (round === 0) {
    const initial = { initial_val_loss: loss, initial_bits_per_byte: bits }
    await t.updateTable('runs').set(initial).where('id', '=', run).execute()
    return true
  }
  const { numUpdatedRows } = await t
    .updateTable('rounds')
    .set({ val_loss: loss, bits_per_byte: bits })
    .where('run', '=', run)
    .where('round', '=', round)
    .where('weights_after', 'in', weights)
    .executeTakeFirst()
  return numUpdatedRows > 0n
}
