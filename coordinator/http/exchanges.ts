/** HEAD and PUT /exchanges/<exchange>/<slice>: see shared/protocol/mesh.ts for what they take and answer. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { UPLOAD_LENGTH, UPLOAD_OFFSET } from '../../shared/protocol/contribution.ts'
import { LIMITS } from '../../shared/protocol/limits.ts'
import { exchangeParamsSchema, exchangeQuerySchema } from '../../shared/protocol/mesh.ts'
import { IncompleteError } from '../runs/contribution.ts'
import { bodyOf, drain, lengthOf } from './bodies.ts'
import { authenticate, sayOffset, volunteerOf } from './contributions.ts'
import { countArriving } from './counting.ts'
import { parse } from './parse.ts'
import type { HttpParts } from './server.ts'

export function exchangeRoutes(app: FastifyInstance, parts: HttpParts): void {
  const { mesh, runs, clock } = parts
  const keyGenerator = async (request: FastifyRequest) =>
    `slices/${(await volunteerOf(parts, request))?.id ?? `address ${request.ip}`}`
  const limited = {
    config: { rateLimit: { max: 2 * LIMITS.uploadsPerMinute, timeWindow: 60_000, keyGenerator } },
  }
  const askedOf = async (request: FastifyRequest) => {
    const { exchange, slice } = parse(exchangeParamsSchema, request.params)
    const query = parse(exchangeQuerySchema, request.query)
    const volunteer = (await authenticate(parts, request)).id
    return { exchange, slice, ...query, volunteer }
  }

  app.head('/exchanges/:exchange/:slice', limited, async (request, reply) => {
    const { offset, bytes } = mesh.sliceState(await askedOf(request))
    reply.header('cache-control', 'no-store')
    return reply.header(UPLOAD_OFFSET, offset).header(UPLOAD_LENGTH, bytes).send()
  })

  const onRequest = countArriving(runs.observer.arrived)
  app.put('/exchanges/:exchange/:slice', { ...limited, onRequest }, async (request, reply) => {
    const body = bodyOf(request)
    try {
      await mesh.receiveSlice({ ...(await askedOf(request)), length: lengthOf(request), body })
      return { ok: true }
    } catch (error) {
      if (error instanceof IncompleteError) sayOffset(reply, error)
      throw error
    } finally {
      drain(body, clock)
    }
  })
}
