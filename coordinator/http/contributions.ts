/** PUT /contributions/<lease>: see shared/protocol/contribution.ts for what it takes and answers. */
import type { Readable } from 'node:stream'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { contributionParamsSchema, contributionQuerySchema } from '../../shared/protocol/contribution.ts'
import { PotluckError } from '../../shared/protocol/errors.ts'
import { LIMITS } from '../../shared/protocol/limits.ts'
import { hashSecret } from '../accounts/secrets.ts'
import { receiveContribution } from '../runs/contribution.ts'
import { statusOf } from '../runs/messages.ts'
import type { VolunteerRecord } from '../store/metadata.ts'
import { parse } from './parse.ts'
import type { HttpParts } from './server.ts'

/** The most that is read and thrown away so that a refused client gets to hear why. */
const DRAINED_BYTES = 512 * 1024 * 1024

export function contributionRoutes(app: FastifyInstance, parts: HttpParts): void {
  app.addContentTypeParser('application/octet-stream', (_request, payload, done) => done(null, payload))
  const byVolunteer = (request: FastifyRequest) => `upload/${hashSecret(bearer(request) ?? request.ip)}`
  const limit = { max: LIMITS.uploadsPerMinute, timeWindow: 60_000, keyGenerator: byVolunteer }

  app.put('/contributions/:lease', { config: { rateLimit: limit } }, async (request, reply) => {
    const body = bodyOf(request)
    try {
      const { lease } = parse(contributionParamsSchema, request.params)
      const { sha256, steps, loss } = parse(contributionQuerySchema, request.query)
      const volunteer = (await authenticate(parts, request)).id
      const upload = { volunteer, lease, sha256, steps, loss, body: leaveOpen(body) }
      const receipt = await receiveContribution(parts, parts.runs.driver, upload)
      return reply.code(statusOf(receipt)).send(receipt)
    } finally {
      drain(body)
    }
  })
}

function bodyOf({ body }: FastifyRequest): Readable {
  if (body && typeof body === 'object' && 'pipe' in body) return body as Readable // our parser hands the stream over
  throw new PotluckError('bad-request', 'The body must be application/octet-stream.', 415)
}

/** Reading may stop early without closing the connection, on which the refusal has yet to be sent. */
const leaveOpen = (body: Readable): AsyncIterable<Buffer> => body.iterator({ destroyOnReturn: false })

async function authenticate({ store }: HttpParts, request: FastifyRequest): Promise<VolunteerRecord> {
  const token = bearer(request)
  const volunteer = token === null ? null : await store.volunteerByToken(hashSecret(token))
  if (!volunteer) throw new PotluckError('unauthorized', 'This needs a volunteer’s token.', 401)
  if (volunteer.removed !== null) {
    throw new PotluckError(
      'volunteer-removed',
      `The operator removed this volunteer: ${volunteer.removed}`,
      403,
    )
  }
  return volunteer
}

const bearer = ({ headers }: FastifyRequest): string | null =>
  headers.authorization?.match(/^Bearer ([A-Za-z0-9_-]{20,100})$/)?.[1] ?? null

function drain(body: Readable): void {
  let drained = 0
  body.on('error', () => undefined)
  body.on('data', (chunk: Buffer) => {
    drained += chunk.length
    if (drained > DRAINED_BYTES) body.destroy()
  })
}
