/** The operator's API. Everything but session, setup and login needs the cookie; everything that changes, our origin. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import {
  loginSchema,
  ROUTES,
  RUN_ACTIONS,
  removeSchema,
  setupSchema,
  volunteerParamsSchema,
} from '../../shared/protocol/admin.ts'
import { PotluckError } from '../../shared/protocol/errors.ts'
import { LIMITS } from '../../shared/protocol/limits.ts'
import { modelOf } from '../../shared/protocol/modelOf.ts'
import { runConfigSchema } from '../../shared/protocol/run.ts'
import { measureTasksSchema, runParamsSchema } from '../../shared/protocol/tasks.ts'
import { openWeights } from '../checkpoints/download.ts'
import { checkpointRoutes, sendFile } from './checkpoints.ts'
import { originAllowed } from './origin.ts'
import { parse } from './parse.ts'
import type { HttpParts } from './server.ts'

export const SESSION_COOKIE = 'potluck_session'

export async function adminRoutes(app: FastifyInstance, parts: HttpParts): Promise<void> {
  const { operator, runs, store, config, kick } = parts
  app.addHook('onRequest', async (request) => {
    const changes = request.method !== 'GET' && request.method !== 'HEAD'
    if (changes && !originAllowed(request.headers.origin, request.headers.host, config.publicUrl)) {
      throw new PotluckError('forbidden', 'This request came from a page that is not ours.', 403)
    }
  })
  const onRequest = async (request: FastifyRequest) => {
    if (await operator.loggedIn(request.cookies[SESSION_COOKIE])) return
    throw new PotluckError('unauthorized', 'Log in first.', 401)
  }
  const keep = (reply: FastifyReply, session: string) => setSession(reply, session, isSecure(parts))
  const oncePer = { rateLimit: { max: LIMITS.loginsPerMinute, timeWindow: 60_000 } }

  app.get(ROUTES.adminSession, async (request) => ({
    configured: await operator.configured(),
    loggedIn: await operator.loggedIn(request.cookies[SESSION_COOKIE]),
  }))
  app.post(ROUTES.adminSetup, { config: oncePer }, async (request, reply) => {
    const { token, password } = parse(setupSchema, request.body)
    return keep(reply, await operator.setUp(token, password))
  })
  app.post(ROUTES.adminLogin, { config: oncePer }, async (request, reply) => {
    const { password } = parse(loginSchema, request.body)
    return keep(reply, await operator.logIn(password))
  })
  app.post(ROUTES.adminLogout, { onRequest }, async (request, reply) => {
    await operator.logOut(request.cookies[SESSION_COOKIE] ?? '')
    return reply.clearCookie(SESSION_COOKIE, { path: '/' }).send({ ok: true })
  })
  app.get(ROUTES.adminView, { onRequest }, async (_request, reply) =>
    reply.header('cache-control', 'no-store').send(await runs.adminView()),
  )
  app.post(ROUTES.adminRuns, { onRequest }, async (request) => ({
    id: await runs.create(parse(runConfigSchema, request.body)),
  }))
  app.post('/api/admin/run/:action', { onRequest }, async (request) => {
    const { action } = parse(z.strictObject({ action: z.enum(RUN_ACTIONS) }), request.params)
    await runs.act(action)
    return { ok: true }
  })
  app.post('/api/admin/volunteers/:id/remove', { onRequest }, async (request) => {
    const { id } = parse(volunteerParamsSchema, request.params)
    const { reason } = parse(removeSchema, request.body)
    await store.updateVolunteer(id, { removed: reason })
    await runs.presence(id, 'remove')
    kick(id, reason)
    return { ok: true }
  })
  app.post('/api/admin/runs/:id/tasks', { onRequest }, async (request) => {
    const { id } = parse(runParamsSchema, request.params)
    return runs.measureTasks(id, parse(measureTasksSchema, request.body))
  })
  app.get(ROUTES.adminWeights, { onRequest }, (_request, reply) => sendWeights(parts, reply))
  checkpointRoutes(app, parts, onRequest)
}

/** The latest merged weights. */
async function sendWeights({ runs, blobs }: HttpParts, reply: FastifyReply): Promise<FastifyReply> {
  const view = runs.view()
  if (!view?.weights) throw new PotluckError('no-run', 'There are no weights yet.', 404)
  const hashes = view.weights.map(({ hash }) => hash)
  const round = view.round - 1
  const file = await openWeights(blobs, { model: modelOf(view.config), run: view.id, round, hashes })
  return sendFile(reply, file)
}

const isSecure = ({ config }: HttpParts): boolean =>
  config.tls !== null || config.publicUrl?.startsWith('https:') === true

function setSession(reply: FastifyReply, session: string, secure: boolean): FastifyReply {
  return reply
    .setCookie(SESSION_COOKIE, session, {
      path: '/',
      httpOnly: true,
      sameSite: 'strict',
      secure,
      maxAge: LIMITS.adminSessionHours * 3_600,
    })
    .send({ ok: true })
}
