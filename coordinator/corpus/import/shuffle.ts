/**
 * The second pass: bucket by bucket, the documents are shuffled, tokenised and laid end to end, each with end-of-text
 * behind it, into shards of 2^20 tokens. Validation stays in its order.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { encodeShard, MAX_SHARD_TOKENS } from '../../../shared/corpus/shard.ts'
import type { Tokenizer } from '../../../shared/tokenizer/tokenizer.ts'
import type { BlobStore } from '../../store/blobs.ts'
import type { TokenShard } from '../corpusIndex.ts'
import { recordsOf, removeBucket } from './buckets.ts'
import type { Progress } from './progress.ts'
import { type ImportState, writeWhole } from './state.ts'

const SAMPLE_CHARACTERS = 300

export interface ShuffleParts {
  readonly folder: string
  readonly blobs: BlobStore
  readonly tokenizer: Tokenizer
  readonly seed: string
  readonly progress: Progress
  readonly save: (state: ImportState) => Promise<void>
}

export async function shuffle(before: ImportState, parts: ShuffleParts): Promise<ImportState> {
  const { folder, tokenizer, seed, progress, blobs, save } = parts
  let state = before
  const total = state.lengths.reduce((sum, length) => sum + length, 0)
  // Validation is the last bucket and is made first.
  const order = [state.buckets, ...Array.from({ length: state.buckets }, (_, bucket) => bucket)]
  let done = order.slice(0, state.bucketsDone).reduce((sum, bucket) => sum + (state.lengths[bucket] ?? 0), 0)
  while (state.bucketsDone < order.length) {
    const bucket = order[state.bucketsDone] as number // below their number
    const isValidation = bucket === state.buckets
    const shards: TokenShard[] = []
    const line = new TokenLine(blobs, shards)
    if (!isValidation) line.take(await carried(folder, state.bucketsDone))
    let [documents, tokens, bytes] = [0, 0, 0]
    let { sample } = state
    const records = recordsOf(folder, bucket, isValidation ? null : JSON.stringify([seed, bucket]))
    for (const record of records) {
      const ids = state.kind === 'ids' ? idsOf(record) : tokenizer.encode(record.toString('utf8'))
      for (let at = 0; at < ids.length; ) at += await line.add(ids.subarray(at))
      await line.add(Uint16Array.of(tokenizer.endOfText))
      documents += 1
      tokens += ids.length + 1
      if (!isValidation) bytes += state.kind === 'ids' ? bytesOf(ids, tokenizer) : record.length
      if (sample === '' && !isValidation)
        sample = tokenizer.decode(ids.subarray(0, SAMPLE_CHARACTERS)).slice(0, SAMPLE_CHARACTERS)
      done += record.length
      progress.show('tokenising', done, total)
    }
    const last = state.bucketsDone + 1 === order.length
    if (isValidation || last) await line.finish()
    else await writeWhole(folder, carryFile(state.bucketsDone + 1), bytesOfIds(line.rest))
    state = {
      ...state,
      sample,
      bucketsDone: state.bucketsDone + 1,
      documents: state.documents + documents,
      ...(isValidation
        ? { validation: [...state.validation, ...shards], validationTokens: tokens }
        : {
            training: [...state.training, ...shards],
            tokens: state.tokens + tokens,
            bytes: state.bytes + bytes,
          }),
    }
    await save(state)
    removeBucket(folder, bucket)
  }
  return state
}

/** Tokens end to end, handed on as shards when there are enough. */
class TokenLine {
  readonly #blobs: BlobStore
  readonly #shards: TokenShard[]
  readonly #tokens = new Uint16Array(MAX_SHARD_TOKENS)
  #length = 0

  constructor(blobs: BlobStore, shards: TokenShard[]) {
    this.#blobs = blobs
    this.#shards = shards
  }

  /** Tokens that fill no shard yet. */
  get rest(): Uint16Array {
    return this.#tokens.slice(0, this.#length)
  }

  /** What another line left; less than a shard. */
  take(ids: Uint16Array): void {
    this.#tokens.set(ids)
    this.#length = ids.length
  }

  /** Takes as many as there is room for, and answers how many. */
  async add(ids: Uint16Array): Promise<number> {
    const taken = Math.min(ids.length, MAX_SHARD_TOKENS - this.#length)
    this.#tokens.set(ids.subarray(0, taken), this.#length)
    this.#length += taken
    if (this.#length === MAX_SHARD_TOKENS) await this.finish()
    return taken
  }

  async finish(): Promise<void> {
    if (this.#length === 0) return
    const tokens = this.#length
    this.#shards.push({ hash: await this.#blobs.put(encodeShard(this.rest)), tokens })
    this.#length = 0
  }
}

/** What the bucket before left over; named by the bucket it goes to, so that a state and its file belong together. */
const carryFile = (bucket: number) => `carry-${bucket}`

async function carried(folder: string, bucketsDone: number): Promise<Uint16Array> {
  if (bucketsDone <= 1) return new Uint16Array(0) // the first after validation
  return idsOf(await readFile(join(folder, carryFile(bucketsDone))))
}

const idsOf = (bytes: Buffer): Uint16Array => new Uint16Array(Uint8Array.from(bytes).buffer)
const bytesOfIds = (ids: Uint16Array) => new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength)
const bytesOf = (ids: Uint16Array, tokenizer: Tokenizer) =>
  ids.reduce((sum, id) => sum + tokenizer.byteLength(id), 0)
