/**
 * HTTP as a hub wants it: waits when it is told to (429 with RateLimit or Retry-After), tries again when a line or a server
 * fails, and follows redirects itself, because a hub says a file's hash only in the answer that redirects.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { PotluckError } from '../../../shared/protocol/errors.ts'

export interface Manners {
  /** Milliseconds; tests do not wait. */
  readonly sleep: (ms: number) => Promise<unknown>
  /** Told before a long wait. */
  readonly waits?: (seconds: number, why: string) => void
}
export const PATIENT: Manners = { sleep: (ms) => pause(ms) }

const ATTEMPTS = 8
const REDIRECTS = 5
/** Seconds: without a word about it, and at most; a hub's windows are of five minutes. */
const WAIT = { usual: 60, most: 900 }

export interface Answer {
  /** The last of the redirects; its status is 200 or 206. */
  readonly response: Response
  /** Headers of all answers on the way; the first that has one wins. */
  readonly header: (name: string) => string | null
}

/** @throws PotluckError `not-found` for 401, 403 and 404; `bad-corpus` when it does not come at all. */
export async function get(
  url: string,
  { headers = {}, manners = PATIENT }: { headers?: Record<string, string>; manners?: Manners } = {},
): Promise<Answer> {
  let last = ''
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const answer = await follow(url, headers).catch((error: unknown) => {
      if (error instanceof PotluckError) throw error
      last = reasonOf(error)
      return null
    })
    const status = answer?.response.status ?? 0
    if (answer && (status === 200 || status === 206)) return answer
    await answer?.response.body?.cancel()
    if (answer && status !== 429 && status < 500) throw refused(url, status)
    if (answer) last = `it answered ${status}`
    const seconds = answer && status === 429 ? waitOf(answer) : Math.min(WAIT.usual, 2 ** attempt)
    if (seconds > 5) manners.waits?.(seconds, last)
    await manners.sleep(seconds * 1_000)
  }
  throw new PotluckError('bad-corpus', `${url} does not come: ${last}. The same command goes on from here.`)
}

async function follow(url: string, headers: Record<string, string>): Promise<Answer> {
  const seen: Headers[] = []
  let next = url
  for (let hop = 0; hop <= REDIRECTS; hop++) {
    const response = await fetch(next, {
      headers: { 'accept-encoding': 'identity', ...headers },
      redirect: 'manual',
    })
    seen.push(response.headers)
    const location = response.headers.get('location')
    if (response.status < 300 || response.status >= 400 || location === null) {
      const header = (name: string) =>
        seen.map((one) => one.get(name)).find((value) => value !== null) ?? null
      return { response, header }
    }
    await response.body?.cancel()
    const target = URL.canParse(location, next) ? new URL(location, next) : null
    if (target === null || !/^https?:$/.test(target.protocol))
      throw new PotluckError(
        'bad-corpus',
        `${url} redirects to ${location.slice(0, 200)}, which is no address.`,
      )
    next = target.href
  }
  throw new PotluckError('bad-corpus', `${url} redirects more than ${REDIRECTS} times.`)
}

/** Seconds: `RateLimit: "resolvers";r=0;t=120`, or Retry-After. */
function waitOf({ header }: Answer): number {
  const told =
    /(?:^|[;,\s])t=(\d{1,6})/.exec(header('ratelimit') ?? '')?.[1] ??
    /^\d{1,6}$/.exec(header('retry-after') ?? '')?.[0]
  return Math.min(WAIT.most, told === undefined ? WAIT.usual : Number(told) + 1)
}

function refused(url: string, status: number): PotluckError {
  const gone = [401, 403, 404].includes(status)
  const why = gone ? `There is nothing public at ${url}` : `${url} cannot be read`
  return new PotluckError(
    gone ? 'not-found' : 'bad-corpus',
    `${why}: it answered ${status}.`,
    gone ? 404 : 400,
  )
}

function reasonOf(error: unknown): string {
  const cause = error instanceof Error ? (error.cause ?? error) : error
  return cause instanceof Error ? cause.message : String(cause)
}
