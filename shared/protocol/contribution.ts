/**
 * PUT /contributions/<lease>: the encoded pseudo-gradient as body, `authorization: Bearer <volunteer token>`,
 * and these query parameters. Answers a Receipt with status 200 when accepted, 409 or 422 when not, and an
 * ErrorBody for anything that is not a contribution at all. Repeating it is harmless.
 */
import { z } from 'zod'
import { hashSchema, idSchema } from './run.ts'

export const contributionParamsSchema = z.strictObject({ lease: idSchema })
export const contributionQuerySchema = z.strictObject({
  /** SHA-256 of the body. */
  sha256: hashSchema,
  /** Inner steps really taken, 1 to the lease's. */
  steps: z.coerce.number().int().min(1).max(1_000_000),
  /** Mean cross entropy over those steps, nats per token. */
  loss: z.coerce.number().min(0).max(1_000),
})
