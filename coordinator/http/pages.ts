/** The built pages: HTML is asked for again each time, hashed assets never. */
import { access } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import fastifyStatic from '@fastify/static'
import type { FastifyInstance } from 'fastify'
import { PotluckError } from '../../shared/protocol/errors.ts'

export async function pageRoutes(app: FastifyInstance, pages: string): Promise<void> {
  const root = resolve(pages)
  const built = await access(join(root, 'index.html')).then(
    () => true,
    () => false,
  )
  if (!built) {
    throw new PotluckError('bad-config', `There are no built pages in ${pages}. Run "npm run build" first.`)
  }
  await app.register(fastifyStatic, {
    root,
    cacheControl: false,
    setHeaders(response, path) {
      const hashed = path.startsWith(join(root, 'assets'))
      response.setHeader('cache-control', hashed ? 'public, max-age=31536000, immutable' : 'no-cache')
    },
  })
  app.get('/admin', (_request, reply) => reply.sendFile('admin/index.html'))
}
