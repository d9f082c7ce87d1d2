/** Weights that a run starts from instead of untrained ones, as its row keeps them until it is prepared. */
import { z } from 'zod'
import { hashSchema, idSchema } from '../../shared/protocol/run.ts'
import { poolSchema } from '../rounds/pool.ts'
import { fragmentBaseSchema } from '../rounds/state.ts'

export const startingPointSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('checkpoint'),
    run: idSchema,
    round: z.number().int().nonnegative(),
    /** In that run's fragments, which need not be this one's. Exact weights and velocity are null unless carried. */
    fragments: z.array(fragmentBaseSchema).min(1),
    /** Null: from the first sequence. */
    pool: poolSchema.nullable(),
  }),
  z.strictObject({
    kind: z.literal('import'),
    /** Of the flat parameters, in the vault. */
    hash: hashSchema,
    name: z.string(),
    parameters: z.number().int().positive(),
    largest: z.number(),
  }),
])
export type StartingPoint = z.infer<typeof startingPointSchema>
