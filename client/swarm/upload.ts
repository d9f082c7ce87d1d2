/**
 * Sends a contribution until the coordinator answers with a receipt: after an attempt that broke off only what has not
 * come yet. Repeating is harmless, the coordinator counts a lease once. Rules U13 to U15 of coordinator/store/RULES.md;
 * the messages are in shared/protocol/contribution.ts, a single request is transport.ts's.
 */
import { ROUTES } from '../../shared/protocol/admin.ts'
import { type Receipt, receiptSchema } from '../../shared/protocol/run.ts'
import { sha256 } from '../storage/blobs.ts'
import { backoff, wait } from './patience.ts'
import { type Answer, byXmlHttpRequest, type Transport } from './transport.ts'

export interface Contribution {
  readonly lease: string
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly steps: number
  readonly loss: number
  /** Called with how many more bytes of bodies went out, those that were lost on the way too. */
  readonly onNetwork?: (bytes: number) => void
}

const TRIES_OF_DAMAGED = 3
/** A line on which nothing moves for so long is dead, though nobody says so. */
const STALL_MS = 120_000
/** Others' contributions may have to be checked before ours. */
const ANSWER_MS = 600_000

/**
 * @param onSent how much of the whole has come or is on its way; falls back when that was lost.
 * @throws Error when the coordinator refuses the sender itself (401, 403) or the request; the signal's reason when
 * aborted.
 */
export function sendContribution(
  { lease, bytes, steps, loss, onNetwork }: Contribution,
  token: string,
  signal: AbortSignal,
  onSent: (bytes: number) => void,
  transport: Transport = byXmlHttpRequest,
): Promise<Receipt> {
  let damaged = 0
  const answered = (answer: Answer) => {
    const receipt = receiptSchema.safeParse(answer.body)
    if (!receipt.success) return 'unanswered'
    return isDamage(receipt.data) && ++damaged < TRIES_OF_DAMAGED ? 'again' : receipt.data
  }
  const url = ROUTES.contribution(lease)
  const body = { url, bytes, told: { steps: String(steps), loss: String(loss) }, onNetwork }
  return sendBody({ body, token, signal, onSent, transport, answered })
}

/** Bytes for an address that takes them piece by piece, as contributions are (shared/protocol/contribution.ts). */
export interface Body {
  readonly url: string
  readonly bytes: Uint8Array<ArrayBuffer>
  /** Of the query, besides hash and offset. */
  readonly told: Readonly<Record<string, string>>
  readonly onNetwork?: ((bytes: number) => void) | undefined
}

export interface Sending<T> {
  readonly body: Body
  readonly token: string
  readonly signal: AbortSignal
  readonly onSent: (bytes: number) => void
  readonly transport: Transport
  /** What an answer says; `again`: send all of it once more. */
  readonly answered: (answer: Answer) => T | 'again' | 'unanswered'
}

/** Until there is an answer. @throws as sendContribution does */
export async function sendBody<T extends object>({ body, answered, ...how }: Sending<T>): Promise<T> {
  const line = await lineFor(body, how.token, how.signal, how.onSent, how.transport)
  const { length } = body.bytes
  let failures = 0
  for (let offset = 0; ; ) {
    const answer = await line.put(offset)
    const said = answered(answer)
    if (said !== 'again' && said !== 'unanswered') return said
    if (said === 'unanswered' && isFinal(answer)) {
      throw new Error(`The coordinator refused the bytes with status ${answer.status}.`)
    }
    let came = said === 'again' ? 0 : answer.offset
    do {
      await wait(backoff(failures++), how.signal)
      came ??= await line.come()
    } while (came === null)
    if (came > offset) failures = 0
    offset = came <= length ? came : 0
  }
}

/** The two requests about one body. */
interface Line {
  put(offset: number): Promise<Answer>
  /** Bytes that have come; all of them when only PUT knows, because nobody waits for them; null without an answer. */
  come(): Promise<number | null>
}

async function lineFor(
  { url, bytes, told, onNetwork }: Body,
  token: string,
  signal: AbortSignal,
  onSent: (bytes: number) => void,
  transport: Transport,
): Promise<Line> {
  const name = await sha256(bytes)
  const query = { ...told, sha256: name }
  return {
    put(offset) {
      const asked = new URLSearchParams({ ...query, offset: String(offset) })
      const body = bytes.subarray(offset)
      let sent = 0
      onSent(offset)
      return patiently(body.length, signal, (attempt, moved) =>
        transport({
          ...{ method: 'PUT', url: `${url}?${asked}`, token, body, signal: attempt },
          onSent(now) {
            onNetwork?.(now - sent)
            sent = now
            onSent(offset + now)
            moved(now)
          },
        }),
      )
    },
    async come() {
      const ask = { method: 'HEAD', url: `${url}?${new URLSearchParams(query)}`, token, body: null } as const
      const { status, offset } = await patiently(1, signal, (attempt) =>
        transport({ ...ask, signal: attempt, onSent: () => undefined }),
      )
      return offset ?? (status === 0 || isPassing(status) ? null : bytes.length)
    },
  }
}

/** Takes a request on which nothing moves for one that was never answered. */
async function patiently(
  total: number,
  signal: AbortSignal,
  request: (attempt: AbortSignal, moved: (sent: number) => void) => Promise<Answer>,
): Promise<Answer> {
  const stalled = new AbortController()
  let timer: ReturnType<typeof setTimeout> | undefined
  const moved = (sent: number) => {
    clearTimeout(timer)
    timer = setTimeout(() => stalled.abort(), sent < total ? STALL_MS : ANSWER_MS)
  }
  moved(0)
  try {
    return await request(AbortSignal.any([signal, stalled.signal]), moved)
  } catch (error) {
    if (signal.aborted || !stalled.signal.aborted) throw error
    return { status: 0, offset: null, body: null }
  } finally {
    clearTimeout(timer)
  }
}

const isDamage = (receipt: Receipt): boolean =>
  receipt.result === 'rejected' && ['hash-mismatch', 'wrong-length'].includes(receipt.reason)

/** Time mends these. */
const isPassing = (status: number): boolean => status >= 500 || status === 408 || status === 429

/** Our own fault, so the same request will not do better; an offset is an invitation to go on. */
const isFinal = ({ status, offset }: Answer): boolean =>
  status >= 400 && !isPassing(status) && offset === null
