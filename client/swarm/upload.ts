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
export async function sendContribution(
  contribution: Contribution,
  token: string,
  signal: AbortSignal,
  onSent: (bytes: number) => void,
  transport: Transport = byXmlHttpRequest,
): Promise<Receipt> {
  const line = await lineFor(contribution, token, signal, onSent, transport)
  const { length } = contribution.bytes
  let damaged = 0
  let failures = 0
  for (let offset = 0; ; ) {
    const answer = await line.put(offset)
    const receipt = receiptSchema.safeParse(answer.body)
    if (receipt.success && !(isDamage(receipt.data) && ++damaged < TRIES_OF_DAMAGED)) return receipt.data
    if (!receipt.success && isFinal(answer)) {
      throw new Error(`The coordinator refused the contribution with status ${answer.status}.`)
    }
    let came = receipt.success ? 0 : answer.offset
    do {
      await wait(backoff(failures++), signal)
      came ??= await line.come()
    } while (came === null)
    if (came > offset) failures = 0
    offset = came <= length ? came : 0
  }
}

/** The two requests about one contribution. */
interface Line {
  put(offset: number): Promise<Answer>
  /** Bytes that have come; all of them when only PUT knows, because the lease is not open; null without an answer. */
  come(): Promise<number | null>
}

async function lineFor(
  { lease, bytes, steps, loss, onNetwork }: Contribution,
  token: string,
  signal: AbortSignal,
  onSent: (bytes: number) => void,
  transport: Transport,
): Promise<Line> {
  const url = ROUTES.contribution(lease)
  const name = await sha256(bytes)
  const told = { sha256: name, steps: String(steps), loss: String(loss) }
  return {
    put(offset) {
      const query = new URLSearchParams({ ...told, offset: String(offset) })
      const body = bytes.subarray(offset)
      let sent = 0
      onSent(offset)
      return patiently(body.length, signal, (attempt, moved) =>
        transport({
          ...{ method: 'PUT', url: `${url}?${query}`, token, body, signal: attempt },
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
      const ask = { method: 'HEAD', url: `${url}?sha256=${name}`, token, body: null } as const
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
