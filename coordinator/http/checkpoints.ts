/** The operator's routes for checkpoints: roll back, start a run from weights, take weights away and bring them. */
import type { FastifyInstance, FastifyReply, onRequestAsyncHookHandler } from 'fastify'
import { ROUTES, runFromSchema } from '../../shared/protocol/admin.ts'
import {
  checkpointParamsSchema,
  importQuerySchema,
  rollBackSchema,
} from '../../shared/protocol/checkpoints.ts'
import type { Download } from '../checkpoints/download.ts'
import { bodyOf, drain, lengthOf } from './bodies.ts'
import { parse } from './parse.ts'
import type { HttpParts } from './server.ts'

export function checkpointRoutes(
  app: FastifyInstance,
  { runs, clock }: HttpParts,
  onRequest: onRequestAsyncHookHandler,
): void {
  app.post(ROUTES.adminRollBack, { onRequest }, async (request) => {
    const { run, round } = parse(rollBackSchema, request.body)
    await runs.rollBack(run, round)
    return { ok: true }
  })

  app.post(ROUTES.adminRunsFrom, { onRequest }, async (request) => {
    const { config, start } = parse(runFromSchema, request.body)
    return { id: await runs.create(config, start) }
  })

  app.get('/api/admin/checkpoints/:run/:round/:file', { onRequest }, async (request, reply) => {
    const { run, round, file } = parse(checkpointParamsSchema, request.params)
    return sendFile(reply, await runs.checkpoints.download(run, round, file))
  })

  app.put(ROUTES.adminImports, { onRequest }, async (request) => {
    const query = parse(importQuerySchema, request.query)
    const body = bodyOf(request)
    try {
      return await runs.imports.receive(query, body, lengthOf(request))
    } finally {
      drain(body, clock)
    }
  })
}

export const sendFile = (reply: FastifyReply, { name, type, bytes, body }: Download): FastifyReply =>
  reply
    .type(type)
    .header('cache-control', 'no-store')
    .header('content-length', bytes)
    .header('content-disposition', `attachment; filename="${name}"`)
    .send(body)
