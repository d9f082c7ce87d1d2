/** Bodies that are read as streams: how long they say they are, and what is read of one that was refused. */
import type { Readable } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import { PotluckError } from '../../shared/protocol/errors.ts'
import { LIMITS } from '../../shared/protocol/limits.ts'
import type { Clock } from '../rounds/driver.ts'

/** Bytes it is said to have; null when it does not say. */
export function lengthOf({ headers }: FastifyRequest): number | null {
  const length = headers['content-length']
  return length === undefined ? null : Number(length)
}

/** @throws PotluckError `bad-request` for a body of another kind */
export function bodyOf({ body }: FastifyRequest): Readable {
  if (body && typeof body === 'object' && 'pipe' in body) return body as Readable // our parser hands the stream over
  throw new PotluckError('bad-request', 'The body must be application/octet-stream.', 415)
}

/** Reads on and throws away, for a client that hears an answer only when it has sent; U6 says how long. */
export function drain(body: Readable, clock: Clock): void {
  if (body.readableEnded || body.destroyed) return
  const { bytes, seconds } = LIMITS.uploadDrain
  const cancel = clock.at(clock.now() + seconds * 1_000, () => body.destroy())
  let drained = 0
  body.on('error', () => undefined)
  body.on('close', cancel)
  body.on('data', (chunk: Buffer) => {
    drained += chunk.length
    if (drained > bytes) body.destroy()
  })
}
