/** Counts the bytes of bodies as they pass, without holding them up or setting them going. */
import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import type { onRequestHookHandler, onSendHookHandler } from 'fastify'

type Count = (bytes: number) => void

/**
 * For the hook onRequest: every byte of the request's body that arrives, whoever reads it and whether or not it comes
 * whole. Only of a body that nobody ever reads, what comes after the answer is missing: Node drops it unseen.
 */
export const countArriving =
  (count: Count): onRequestHookHandler =>
  ({ raw }, _reply, done) => {
    watch(raw, count)
    done()
  }

/** A listener for `data` would set the body going before anybody decided to read it; so it is counted where it enters. */
function watch(body: IncomingMessage, count: Count): void {
  count(body.readableLength)
  const push = body.push.bind(body)
  body.push = (chunk: Uint8Array | null, encoding) => {
    if (chunk !== null) count(chunk.length)
    return push(chunk, encoding)
  }
}

/**
 * For the hook onSend: every byte of a streamed response as it is handed to the connection. When the client breaks off,
 * what the kernel and one chunk held for it counts as sent: nobody can know how far it got.
 */
export const countSent =
  (count: Count): onSendHookHandler =>
  (_request, _reply, payload, done) => {
    if (payload instanceof Readable) {
      payload.pause() // so that listening does not start it; Fastify's pipe does
      payload.on('data', (chunk: Uint8Array) => count(chunk.length))
    }
    done(null, payload)
  }
