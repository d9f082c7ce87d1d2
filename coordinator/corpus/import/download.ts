/** One file from the web to disk: goes on where an earlier try ended, and is checked by length and hash. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, rename, rm, stat } from 'node:fs/promises'
import { PotluckError } from '../../../shared/protocol/errors.ts'
import { get, type Manners } from './polite.ts'

export interface DownloadRequest {
  readonly url: string
  readonly path: string
  /** In hex, when it is known beforehand; a hub says it anyway. */
  readonly sha256: string | null
  readonly onBytes: (received: number, total: number) => void
  readonly manners?: Manners
}

/** Broken lines that one file may cost. */
const ATTEMPTS = 20
const SHA256 = /^[0-9a-f]{64}$/

/** Nothing to do when `path` is there: it only gets there whole. @throws PotluckError `bad-corpus`, `not-found` */
export async function download(request: DownloadRequest): Promise<void> {
  const { path, url } = request
  if ((await sizeOf(path)) !== null) return
  const partial = `${path}.partial`
  let cut = ''
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const result = await attemptFrom(request, partial)
    if (result.cut !== null) {
      cut = result.cut
      continue
    }
    const expected = request.sha256 ?? result.sha256
    const actual = expected === null ? null : await hashOf(partial)
    if (actual !== expected) {
      await rm(partial, { force: true })
      throw new PotluckError(
        'bad-corpus',
        `${url} is damaged: its SHA-256 is ${actual}, not ${expected}. Try again.`,
      )
    }
    await rename(partial, path)
    return
  }
  throw new PotluckError(
    'bad-corpus',
    `${url} breaks off again and again: ${cut}. The same command goes on from here.`,
  )
}

interface Attempt {
  /** Why it ended early; null when all is there. */
  readonly cut: string | null
  /** As the server tells it. */
  readonly sha256: string | null
}

async function attemptFrom({ url, onBytes, manners }: DownloadRequest, partial: string): Promise<Attempt> {
  const had = (await sizeOf(partial)) ?? 0
  const headers: Record<string, string> = had > 0 ? { range: `bytes=${had}-` } : {}
  const { response, header } = await get(url, { headers, ...(manners && { manners }) }).catch(
    (error: unknown) => {
      if (had > 0 && error instanceof PotluckError && error.message.includes('416')) return restart()
      throw error
    },
  )
  const range = /^bytes (\d+)-\d+\/(\d+)$/.exec(response.headers.get('content-range') ?? '')
  const goesOn = response.status === 206 && Number(range?.[1]) === had
  if (response.status === 206 && !goesOn) return restart()
  const from = goesOn ? had : 0
  const linked = Number(header('x-linked-size') ?? Number.NaN)
  const told = Number(range?.[2] ?? response.headers.get('content-length') ?? Number.NaN)
  const total = Number.isFinite(linked) ? linked : told
  const file = await open(partial, from > 0 ? 'r+' : 'w')
  let at = from
  let cut: string | null = null
  try {
    for await (const chunk of response.body ?? []) {
      await file.write(chunk, 0, chunk.length, at)
      at += chunk.length
      onBytes(at, Number.isFinite(total) ? total : 0)
    }
  } catch (error) {
    cut = error instanceof Error ? error.message : String(error)
  } finally {
    await file.close()
  }
  if (cut === null && Number.isFinite(total) && at !== total) cut = `it has ${at} bytes of ${total}`
  if (Number.isFinite(total) && at > total) await rm(partial, { force: true })
  const etag = (header('x-linked-etag') ?? '').replace(/^W\/|"/g, '')
  return { cut, sha256: SHA256.test(etag) ? etag : null }

  async function restart(): Promise<never> {
    await rm(partial, { force: true })
    throw new PotluckError(
      'bad-corpus',
      `${url} has another length than before. The same command begins it anew.`,
    )
  }
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 }))
    hash.update(chunk as Buffer) // no encoding
  return hash.digest('hex')
}

const sizeOf = (path: string): Promise<number | null> =>
  stat(path).then(
    ({ size }) => size,
    () => null,
  )
