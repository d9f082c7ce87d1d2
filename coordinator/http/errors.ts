/** Any error as an answer: ours with their code, Fastify's translated, everything else `internal` and logged. */
import type { FastifyBaseLogger, FastifyError } from 'fastify'
import { PotluckError } from '../../shared/protocol/errors.ts'

export function toPotluckError(error: unknown, log: Pick<FastifyBaseLogger, 'error'>): PotluckError {
  if (error instanceof PotluckError) {
    if (error.status >= 500) log.error(error)
    return error
  }
  const { statusCode, message } = error as Partial<FastifyError> // every field is checked before use
  if (statusCode === 429) return new PotluckError('rate-limited', `Too many requests. ${message}`, 429)
  if (statusCode === 413) return new PotluckError('too-large', 'The body is too large.', 413)
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new PotluckError('bad-request', `That request is not right. ${message}`, statusCode)
  }
  log.error(error)
  return new PotluckError(
    'internal',
    'Something went wrong here. It has been logged; trying again may help.',
    500,
  )
}
