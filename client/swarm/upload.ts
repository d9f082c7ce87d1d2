/**
 * Sends a contribution until the coordinator answers with a receipt. Repeating is harmless: the coordinator counts
 * a lease once. XMLHttpRequest, because fetch does not tell how much has been sent.
 */
import { ROUTES } from '../../shared/protocol/admin.ts'
import { type Receipt, receiptSchema } from '../../shared/protocol/run.ts'
import { sha256 } from '../storage/blobs.ts'
import { backoff, wait } from './patience.ts'

export interface Contribution {
  readonly lease: string
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly steps: number
  readonly loss: number
}

const TRIES_OF_DAMAGED = 3

/** @throws Error when the coordinator refuses the sender itself (401, 403); the signal's reason when aborted. */
export async function sendContribution(
  contribution: Contribution,
  token: string,
  signal: AbortSignal,
  onSent: (bytes: number) => void,
): Promise<Receipt> {
  const { lease, bytes, steps, loss } = contribution
  const query = new URLSearchParams({ sha256: await sha256(bytes), steps: String(steps), loss: String(loss) })
  const url = `${ROUTES.contribution(lease)}?${query}`
  let damaged = 0
  for (let attempt = 0; ; attempt++) {
    signal.throwIfAborted()
    const answer = await put(url, bytes, token, signal, onSent)
    const receipt = receiptSchema.safeParse(answer.body)
    if (receipt.success) {
      const again = isDamage(receipt.data) && ++damaged < TRIES_OF_DAMAGED
      if (!again) return receipt.data
    } else if (isFinal(answer.status)) {
      throw new Error(`The coordinator refused the contribution with status ${answer.status}.`)
    }
    await wait(backoff(attempt), signal)
  }
}

const isDamage = (receipt: Receipt): boolean =>
  receipt.result === 'rejected' && ['hash-mismatch', 'wrong-length'].includes(receipt.reason)

/** Our own fault, so the same request will not do better; 408 and 429 ask for patience. */
const isFinal = (status: number): boolean => status >= 400 && status < 500 && status !== 408 && status !== 429

interface Answer {
  /** 0 when there was no answer at all. */
  readonly status: number
  readonly body: unknown
}

function put(
  url: string,
  bytes: Uint8Array<ArrayBuffer>,
  token: string,
  signal: AbortSignal,
  onSent: (bytes: number) => void,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    const abort = () => request.abort()
    request.open('PUT', url)
    request.setRequestHeader('content-type', 'application/octet-stream')
    request.setRequestHeader('authorization', `Bearer ${token}`)
    request.responseType = 'json'
    request.upload.addEventListener('progress', (event) => onSent(event.loaded))
    request.addEventListener('loadend', () => {
      signal.removeEventListener('abort', abort)
      if (signal.aborted) reject(signal.reason)
      else resolve({ status: request.status, body: request.response })
    })
    signal.addEventListener('abort', abort, { once: true })
    request.send(bytes)
  })
}
