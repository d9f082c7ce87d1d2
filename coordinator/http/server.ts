/** The HTTP side: one Fastify instance with headers, limits, errors and every route. It does not listen yet. */
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import cookie from '@fastify/cookie'
import helmet from '@fastify/helmet'
import rateLimit from '@fastify/rate-limit'
import fastify, { type FastifyInstance, type FastifyPluginAsync } from 'fastify'
import { ROUTES } from '../../shared/protocol/admin.ts'
import { PotluckError } from '../../shared/protocol/errors.ts'
import { LIMITS } from '../../shared/protocol/limits.ts'
import type { Operator } from '../accounts/operator.ts'
import type { Config } from '../config.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { ContributionParts } from '../runs/contribution.ts'
import type { Runs } from '../runs/runs.ts'
import type { BlobStore } from '../store/blobs.ts'
import { adminRoutes } from './admin.ts'
import { blobRoutes } from './blobs.ts'
import { contributionRoutes } from './contributions.ts'
import { toPotluckError } from './errors.ts'
import { exchangeRoutes } from './exchanges.ts'
import { metricsRoutes } from './metrics.ts'
import { pageRoutes } from './pages.ts'

export interface HttpParts extends ContributionParts {
  readonly config: Config
  readonly runs: Runs
  readonly mesh: Mesh
  readonly operator: Operator
  readonly metrics: Pick<Metrics, 'text' | 'contentType'>
  readonly blobs: BlobStore
  readonly blobDirectory: string
  /** Folder of the built pages. */
  readonly pages: string
  /** Disconnects a volunteer who was removed. */
  readonly kick: (volunteer: string, reason: string) => void
}

/** A contribution of the largest preset over a slow home line still fits; a stalled one does not stay for ever. */
const REQUEST_TIMEOUT_MS = 30 * 60_000
const REQUESTS_PER_MINUTE = 1_200

export async function buildServer(parts: HttpParts): Promise<FastifyInstance> {
  const { config, runs } = parts
  const tls = readTls(config)
  const app = fastify({
    logger: config.log === 'silent' ? false : { level: config.log },
    bodyLimit: LIMITS.jsonBytes,
    trustProxy: (_address, hop) => hop < config.trustedProxies,
    forceCloseConnections: true,
    serverFactory(handler) {
      const options = { requestTimeout: REQUEST_TIMEOUT_MS }
      return tls ? createTlsServer({ ...options, ...tls }, handler) : createServer(options, handler)
    },
  })
  app.setErrorHandler((error, _request, reply) => {
    const ours = toPotluckError(error, app.log)
    void reply.code(ours.status).send(ours.toBody())
  })
  app.setNotFoundHandler(() => {
    throw new PotluckError('not-found', 'There is nothing at this address.', 404)
  })
  await app.register(helmet, securityHeaders(config.tls !== null))
  await app.register(rateLimit, { max: REQUESTS_PER_MINUTE, timeWindow: 60_000 })
  await app.register(cookie)

  app.get(ROUTES.health, async () => ({ ok: true }))
  app.get(ROUTES.ready, async () => {
    await parts.store.setting('ready') // proves that the database answers
    return { ok: true }
  })
  app.get(ROUTES.run, async (_request, reply) =>
    reply.header('cache-control', 'no-store').send({ run: runs.view() }),
  )
  await pageRoutes(app, parts.pages)
  blobRoutes(app, parts)
  contributionRoutes(app, parts)
  exchangeRoutes(app, parts)
  metricsRoutes(app, parts)
  const admin: FastifyPluginAsync = (scope) => adminRoutes(scope, parts)
  await app.register(admin)
  return app
}

function readTls({ tls }: Config) {
  if (tls === null) return null
  try {
    return { cert: readFileSync(tls.cert), key: readFileSync(tls.key) }
  } catch (error) {
    throw new PotluckError(
      'bad-config',
      `The TLS certificate or key cannot be read: ${(error as Error).message}`,
    ) // readFileSync throws Errors
  }
}

/** Cross-origin isolation for shared memory; a policy that lets nothing foreign in. */
const securityHeaders = (secure: boolean) => ({
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      defaultSrc: ["'self'"],
      scriptSrc: ["'self'", "'wasm-unsafe-eval'"],
      styleSrc: ["'self'"],
      workerSrc: ["'self'"],
      connectSrc: ["'self'"],
      imgSrc: ["'self'", 'data:'],
      objectSrc: ["'none'"],
      baseUri: ["'none'"],
      formAction: ["'self'"],
      frameAncestors: ["'none'"],
    },
  },
  crossOriginOpenerPolicy: { policy: 'same-origin' as const },
  crossOriginEmbedderPolicy: { policy: 'require-corp' as const },
  crossOriginResourcePolicy: { policy: 'same-origin' as const },
  referrerPolicy: { policy: 'no-referrer' as const },
  strictTransportSecurity: secure ? { maxAge: 15_552_000 } : false,
})
