/**
 * A piece of a zero-shot task in the evaluation process. Examples are taken by their length, shortest first, and run in
 * windows no longer than they need: a sequence's cost is its window's, and what fills it up is not seen.
 */
import { setImmediate as breathe } from 'node:timers/promises'
import { manifestFromBytes } from '../../shared/corpus/manifest.ts'
import type { Engine } from '../../shared/engine/engine.ts'
import { type EncodedRequest, encodeRequest } from '../../shared/evaluate/encode.ts'
import { logLikelihoods, windowFor } from '../../shared/evaluate/likelihoods.ts'
import { added, NO_TALLY, type Tally, tallyOf } from '../../shared/evaluate/score.ts'
import { type Example, requestsOf } from '../../shared/evaluate/tasks.ts'
import { tokenizerFromJSON } from '../../shared/tokenizer/json.ts'
import { openFileBlobStore } from '../store/fileBlobs.ts'
import { examplesFromBytes } from '../tasks/tasks.ts'
import { type Beat, TOKENS_A_BEAT } from './beat.ts'
import { engineWith, type Model } from './models.ts'

export interface TaskJob extends Model {
  /** Of the corpus, for its tokenizer. */
  readonly manifest: string
  /** Folder of the tasks' blobs, and the hash of this one's examples. */
  readonly folder: string
  readonly data: string
  /** The first so many of them count. */
  readonly examples: number
  /** How many of those are done. */
  readonly from: number
}

export interface TaskPiece {
  readonly tally: Tally
  /** How many are done now; when it is `of`, the task is. */
  readonly done: number
  readonly of: number
}

/** Tokens, filled up, of a piece: a loss that comes waits for no more. */
const TOKENS_A_PIECE = 4_096
const SHORTEST_WINDOW = 32
/** Examples encoded between two beats. */
const ENCODED_AT_ONCE = 200

interface Encoded {
  readonly example: Example
  readonly requests: readonly EncodedRequest[]
}

let prepared: { readonly key: string; readonly all: readonly Encoded[] } | null = null

/** @throws PotluckError `not-found`, `bad-blob` */
export async function taskPiece(job: TaskJob & { blobs: string }, beat: Beat): Promise<TaskPiece> {
  const all = await encoded(job, beat)
  const { sequenceLength } = job.config
  const limits = { shortest: Math.min(SHORTEST_WINDOW, sequenceLength), longest: sequenceLength }
  const first = all[job.from]
  if (first === undefined) return { tally: NO_TALLY, done: all.length, of: all.length }
  const window = windowFor(first.requests, limits)
  const engine = await engineWith(
    { config: { ...job.config, sequenceLength: window }, weights: job.weights },
    job.blobs,
  )
  beat()
  const piece = pieceOf(all.slice(job.from), window, limits)
  const atOnce = Math.max(1, Math.floor(TOKENS_A_BEAT / (first.requests.length * window)))
  let tally = NO_TALLY
  for (let i = 0; i < piece.length; i += atOnce) {
    tally = added(tally, await tallyAll(engine, piece.slice(i, i + atOnce)))
    await breathe()
    beat()
  }
  return { tally, done: job.from + piece.length, of: all.length }
}

/** As many as a piece may have of those that need this window, one at least. */
function pieceOf(
  rest: readonly Encoded[],
  window: number,
  limits: { shortest: number; longest: number },
): Encoded[] {
  const piece: Encoded[] = []
  let tokens = 0
  for (const one of rest) {
    tokens += one.requests.length * window
    const fits = tokens <= TOKENS_A_PIECE && windowFor(one.requests, limits) === window
    if (piece.length > 0 && !fits) break
    piece.push(one)
  }
  return piece
}

async function tallyAll(engine: Engine, some: readonly Encoded[]): Promise<Tally> {
  const nats = await logLikelihoods(
    engine,
    some.flatMap(({ requests }) => requests),
  )
  let at = 0
  return some
    .map(({ example, requests }) => {
      at += requests.length
      return tallyOf(example, [...nats.subarray(at - requests.length, at)])
    })
    .reduce(added, NO_TALLY)
}

/** The examples as sequences, shortest first; of the last task again. */
async function encoded(job: TaskJob & { blobs: string }, beat: Beat): Promise<readonly Encoded[]> {
  const { manifest, data, examples, config } = job
  const key = [manifest, data, examples, config.sequenceLength].join(' ')
  if (prepared?.key === key) return prepared.all
  prepared = null
  const blobs = await openFileBlobStore(job.blobs)
  const { tokenizer: hash } = manifestFromBytes(await blobs.get(manifest))
  const tokenizer = tokenizerFromJSON(await blobs.get(hash))
  const chosen = examplesFromBytes(await (await openFileBlobStore(job.folder)).get(data)).slice(0, examples)
  const all: Encoded[] = []
  for (const [i, example] of chosen.entries()) {
    const encode = (request: Parameters<typeof encodeRequest>[1]) =>
      encodeRequest(tokenizer, request, config.sequenceLength)
    all.push({ example, requests: requestsOf(example).map(encode) })
    if (i % ENCODED_AT_ONCE > 0) continue
    await breathe()
    beat()
  }
  all.sort((a, b) => longest(a) - longest(b))
  prepared = { key, all }
  return all
}

const longest = ({ requests }: Encoded): number => Math.max(...requests.map(({ ids }) => ids.length))
