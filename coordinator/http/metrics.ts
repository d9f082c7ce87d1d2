/** GET /metrics: for Prometheus, open to everybody unless the configuration has a token. */
import type { FastifyInstance } from 'fastify'
import { ROUTES } from '../../shared/protocol/admin.ts'
import { PotluckError } from '../../shared/protocol/errors.ts'
import { sameSecret } from '../accounts/secrets.ts'
import type { HttpParts } from './server.ts'

export function metricsRoutes(app: FastifyInstance, { config, metrics }: HttpParts): void {
  app.get(ROUTES.metrics, async ({ headers }, reply) => {
    const { metricsToken } = config
    if (metricsToken !== null && !sameSecret(headers.authorization ?? '', `Bearer ${metricsToken}`)) {
      reply.header('www-authenticate', 'Bearer')
      throw new PotluckError('unauthorized', 'This needs the token of POTLUCK_METRICS_TOKEN.', 401)
    }
    return reply
      .header('cache-control', 'no-store')
      .type(metrics.contentType)
      .send(await metrics.text())
  })
}
