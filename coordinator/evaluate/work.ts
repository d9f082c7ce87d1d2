/**
 * What the evaluation process does, one job after another, with the same engine that volunteers use, on wasm
 * (models.ts). child.ts hears what to do and sends what came of
 * it; the process is started and watched by process.ts.
 */
import { setImmediate as breathe } from 'node:timers/promises'
import { manifestFromBytes } from '../../shared/corpus/manifest.ts'
import { decodeShard } from '../../shared/corpus/shard.ts'
import type { Engine } from '../../shared/engine/engine.ts'
import { tokenizerFromJSON } from '../../shared/tokenizer/json.ts'
import { openFileBlobStore } from '../store/fileBlobs.ts'
import { type Beat, TOKENS_A_BEAT } from './beat.ts'
import { type HeldOutSet, makeHeldOut, sampleTokens } from './heldOut.ts'
import { engineWith, type Model } from './models.ts'
import { type TaskJob, type TaskPiece, taskPiece } from './taskWork.ts'

export interface LossJob extends Model {
  /** Hash of the held-out set. */
  readonly set: string
  /** Of the corpus, for its tokenizer. */
  readonly manifest: string
  /** Seeds the sample of text. */
  readonly seed: string
}

export interface HeldOutJob {
  readonly manifest: string
  /** About so many. */
  readonly tokens: number
}

export interface Loss {
  /** Cross entropy summed over all predicted tokens, in f64. */
  readonly nats: number
  readonly tokens: number
  /** Text that the model wrote. */
  readonly sample: string
}

/** Every kind of job with its result. Both must survive a structured clone. */
export interface Work {
  'held-out': { readonly job: HeldOutJob; readonly result: HeldOutSet }
  loss: { readonly job: LossJob; readonly result: Loss }
  tasks: { readonly job: TaskJob; readonly result: TaskPiece }
}
export type Kind = keyof Work
export type Job = { [K in Kind]: { readonly kind: K; readonly blobs: string } & Work[K]['job'] }[Kind]

const SAMPLE = { temperature: 0.8, topK: 40 }

export async function work(job: Job, beat: Beat): Promise<Work[Kind]['result']> {
  switch (job.kind) {
    case 'held-out':
      return makeHeldOut(job.manifest, await openFileBlobStore(job.blobs), job.tokens)
    case 'loss':
      return loss(job, beat)
    case 'tasks':
      return taskPiece(job, beat)
    default:
      return job satisfies never
  }
}

async function loss(job: LossJob & { blobs: string }, beat: Beat): Promise<Loss> {
  const store = await openFileBlobStore(job.blobs)
  const engine = await engineWith(job, job.blobs)
  beat()
  const sequences = decodeShard(await store.get(job.set), job.config)
  const measured = await inPieces(engine, sequences, beat)
  const manifest = manifestFromBytes(await store.get(job.manifest))
  const tokenizer = tokenizerFromJSON(await store.get(manifest.tokenizer))
  let ids = [tokenizer.endOfText]
  const { sequenceLength } = job.config
  const atOnce = Math.max(1, Math.round(TOKENS_A_BEAT / sequenceLength))
  for (let left = sampleTokens(measured.tokens, sequenceLength); left > 0; left -= atOnce) {
    const options = { ...SAMPLE, tokens: Math.min(atOnce, left), seed: `${job.seed} ${left}` }
    ids = await engine.generate(ids, options)
    await breathe()
    beat()
  }
  return { ...measured, sample: readable(tokenizer.decode(ids.filter((id) => id !== tokenizer.endOfText))) }
}

/** Broken UTF-8 and control characters of an unlearned model are no text to show. */
const readable = (text: string): string => text.replace(/[\uFFFD\p{Cc}]+/gu, ' ')

/** The engine's `evaluate`, with pauses in which messages are heard. */
async function inPieces(engine: Engine, sequences: Uint16Array, beat: Beat) {
  const { sequenceLength } = engine.config
  const atOnce = (sequenceLength + 1) * Math.max(1, Math.floor(TOKENS_A_BEAT / sequenceLength))
  const sum = { nats: 0, tokens: 0 }
  for (let from = 0; from < sequences.length; from += atOnce) {
    const { nats, tokens } = await engine.evaluate(sequences.subarray(from, from + atOnce))
    sum.nats += nats
    sum.tokens += tokens
    await breathe()
    beat()
  }
  return sum
}
