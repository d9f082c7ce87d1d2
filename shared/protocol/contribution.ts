/**
 * How a contribution travels: the encoded pseudo-gradient as a body, resumable by offset. Both requests carry
 * `authorization: Bearer <volunteer token>`; repeating either is harmless.
 *
 * HEAD /contributions/<lease>?sha256=…
 *   200 with `upload-offset` (bytes that have come and stay) and `upload-length` (exact length of the whole) while the
 *   lease is open. Otherwise the status that PUT would answer, and no `upload-offset`.
 *
 * PUT /contributions/<lease>?sha256=…&steps=…&loss=…&offset=…
 *   The body is the bytes from `offset` to the end, application/octet-stream. What has come already is passed over;
 *   another sha256 starts over. Answers a Receipt with status 200 when accepted, 409 or 422 when not, and an
 *   ErrorBody for anything that is not a contribution:
 *     409 `upload-offset`  the offset lies beyond what has come; the header `upload-offset` says how much has
 *     408, 409 or 503 `upload-cut`  the body broke off, was too slow (LIMITS.uploadIdleSeconds), was overtaken by a
 *                          newer request for the same lease, or the coordinator is stopping; what came stays, and
 *                          the header `upload-offset` says how much
 *   A body of the wrong whole length or hash is refused, what came of it is dropped, and the lease stays open (L7).
 *   The receipt of a lease that is not open comes before any of the body is read, so a PUT without a body is enough
 *   to ask for it.
 *
 * What has come of an upload stays until its lease ends, also when the coordinator is restarted or killed. The rules
 * behind this are in coordinator/store/RULES.md.
 */
import { z } from 'zod'
import { hashSchema, idSchema } from './run.ts'

/** Response headers, both counts of bytes. */
export const UPLOAD_OFFSET = 'upload-offset'
export const UPLOAD_LENGTH = 'upload-length'

export const contributionParamsSchema = z.strictObject({ lease: idSchema })
export const contributionQuerySchema = z.strictObject({
  /** SHA-256 of the whole contribution. */
  sha256: hashSchema,
  /** Inner steps really taken, 1 to the lease's. */
  steps: z.coerce.number().int().min(1).max(1_000_000),
  /** Mean cross entropy over those steps, nats per token. */
  loss: z.coerce.number().min(0).max(1_000),
  /** Where in the contribution the body begins. */
  offset: z.coerce.number().int().nonnegative().default(0),
})
/** What PUT takes besides is passed over. */
export const contributionHeadQuerySchema = z.object({
  /** With it, only what was begun with this hash counts as having come. */
  sha256: hashSchema.optional(),
})
