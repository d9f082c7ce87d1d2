/** GET /blobs/<sha256>: immutable bytes with ranges; anybody may cache them for ever. Needs pages.ts's sendFile. */
import { resolve } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { PotluckError } from '../../shared/protocol/errors.ts'
import { hashSchema } from '../../shared/protocol/run.ts'
import { countSent } from './counting.ts'
import { parse } from './parse.ts'
import type { HttpParts } from './server.ts'

export function blobRoutes(app: FastifyInstance, { blobs, blobDirectory, runs }: HttpParts): void {
  /** Blobs whose bytes this process has found to match their names. */
  const verified = new Set<string>()

  async function verify(hash: string): Promise<void> {
    if (verified.has(hash)) return
    await blobs.get(hash).catch((error: unknown) => {
      if (error instanceof PotluckError && error.code === 'bad-blob')
        runs.problems.report('bad-blob', error.message)
      throw error
    })
    verified.add(hash)
  }

  const root = resolve(blobDirectory)
  const onSend = countSent((bytes) => runs.countBytesDown(bytes))
  app.get('/blobs/:hash', { onSend }, async (request, reply) => {
    const { hash } = parse(z.strictObject({ hash: hashSchema }), request.params)
    await verify(hash)
    return reply
      .header('cache-control', 'public, max-age=31536000, immutable')
      .header('etag', `"${hash}"`)
      .type('application/octet-stream')
      .sendFile(`${hash.slice(0, 2)}/${hash}`, root, { cacheControl: false, etag: false })
  })
}
