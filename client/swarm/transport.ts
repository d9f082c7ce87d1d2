/**
 * One HTTP request of an upload. XMLHttpRequest, because fetch does not tell how much of a body has been sent. What to
 * send and when to try again is upload.ts's.
 */
import { UPLOAD_OFFSET } from '../../shared/protocol/contribution.ts'

export interface Outgoing {
  readonly method: 'HEAD' | 'PUT'
  readonly url: string
  readonly token: string
  /** Null for HEAD. */
  readonly body: Uint8Array<ArrayBuffer> | null
  readonly signal: AbortSignal
  /** Bytes of the body that are on their way. */
  readonly onSent: (bytes: number) => void
}

export interface Answer {
  /** 0 when there was no answer at all. */
  readonly status: number
  /** The header `upload-offset`; null without one. */
  readonly offset: number | null
  /** As JSON; null when it is none. */
  readonly body: unknown
}

/** @throws the signal's reason when aborted, and nothing else. */
export type Transport = (outgoing: Outgoing) => Promise<Answer>

export const byXmlHttpRequest: Transport = ({ method, url, token, body, signal, onSent }) =>
  new Promise((resolve, reject) => {
    signal.throwIfAborted()
    const request = new XMLHttpRequest()
    const abort = () => request.abort()
    request.open(method, url)
    request.setRequestHeader('content-type', 'application/octet-stream')
    request.setRequestHeader('authorization', `Bearer ${token}`)
    request.responseType = 'json'
    request.upload.addEventListener('progress', (event) => onSent(event.loaded))
    request.addEventListener('loadend', () => {
      signal.removeEventListener('abort', abort)
      const offset = readOffset(request.getResponseHeader(UPLOAD_OFFSET))
      if (signal.aborted) reject(signal.reason)
      else resolve({ status: request.status, offset, body: request.response })
    })
    signal.addEventListener('abort', abort, { once: true })
    request.send(body)
  })

/** Null when it is no count of bytes. */
export const readOffset = (header: string | null | undefined): number | null =>
  header && /^\d{1,15}$/.test(header) ? Number(header) : null
