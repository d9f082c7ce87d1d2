/** HEAD and PUT /contributions/<lease>: see shared/protocol/contribution.ts for what they take and answer. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import {
  contributionHeadQuerySchema,
  contributionParamsSchema,
  contributionQuerySchema,
  UPLOAD_LENGTH,
  UPLOAD_OFFSET,
} from '../../shared/protocol/contribution.ts'
import { PotluckError } from '../../shared/protocol/errors.ts'
import { LIMITS } from '../../shared/protocol/limits.ts'
import { hashSecret } from '../accounts/secrets.ts'
import { IncompleteError, receiveContribution, uploadState } from '../runs/contribution.ts'
import { statusOf } from '../runs/messages.ts'
import type { VolunteerRecord } from '../store/metadata.ts'
import { bodyOf, drain, lengthOf } from './bodies.ts'
import { countArriving } from './counting.ts'
import { parse } from './parse.ts'
import type { HttpParts } from './server.ts'

export function contributionRoutes(app: FastifyInstance, parts: HttpParts): void {
  const { observer } = parts.runs
  app.addContentTypeParser('application/octet-stream', (_request, payload, done) => done(null, payload))
  const limited = (what: string) => {
    // Made-up tokens must not buy a new budget each.
    const keyGenerator = async (request: FastifyRequest) =>
      `${what}/${(await volunteerOf(parts, request))?.id ?? `address ${request.ip}`}`
    return { config: { rateLimit: { max: LIMITS.uploadsPerMinute, timeWindow: 60_000, keyGenerator } } }
  }

  app.head('/contributions/:lease', limited('upload-state'), async (request, reply) => {
    const { lease } = parse(contributionParamsSchema, request.params)
    const { sha256 } = parse(contributionHeadQuerySchema, request.query)
    const volunteer = (await authenticate(parts, request)).id
    const state = await uploadState(parts, parts.runs.driver, { lease, volunteer, sha256 })
    reply.header('cache-control', 'no-store')
    if ('result' in state) return reply.code(statusOf(state)).send(state)
    return reply.header(UPLOAD_OFFSET, state.offset).header(UPLOAD_LENGTH, state.bytes).send()
  })

  const onRequest = countArriving(observer.arrived)
  app.put('/contributions/:lease', { ...limited('upload'), onRequest }, async (request, reply) => {
    const body = bodyOf(request)
    try {
      const { lease } = parse(contributionParamsSchema, request.params)
      const query = parse(contributionQuerySchema, request.query)
      const volunteer = (await authenticate(parts, request)).id
      const upload = { ...query, volunteer, lease, length: lengthOf(request), body }
      const receipt = await receiveContribution(parts, parts.runs.driver, upload)
      observer.answered(receipt)
      parts.mesh.answered(volunteer, receipt)
      return reply.code(statusOf(receipt)).send(receipt)
    } catch (error) {
      if (error instanceof IncompleteError) sayOffset(reply, error)
      throw error
    } finally {
      drain(body, parts.clock)
    }
  })
}

export function sayOffset(reply: FastifyReply, { offset, status }: IncompleteError): void {
  reply.header(UPLOAD_OFFSET, offset)
  if (status !== 409) reply.header('connection', 'close') // it is dead or too slow, or we are going away
}

export async function volunteerOf(
  { store }: HttpParts,
  request: FastifyRequest,
): Promise<VolunteerRecord | null> {
  const token = bearer(request)
  return token === null ? null : store.volunteerByToken(hashSecret(token))
}

export async function authenticate(parts: HttpParts, request: FastifyRequest): Promise<VolunteerRecord> {
  const volunteer = await volunteerOf(parts, request)
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
