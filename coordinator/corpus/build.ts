/**
 * Documents in, tokenised shards out. Every tenth document is kept for validation before anything else looks at it.
 * Computes for seconds without a pause: prepare.ts runs it in a thread.
 */
import { type CorpusManifest, manifestToBytes, type ShardEntry } from '../../shared/corpus/manifest.ts'
import { permutation } from '../../shared/corpus/permutation.ts'
import { encodeShard, MAX_SHARD_TOKENS } from '../../shared/corpus/shard.ts'
import { PotluckError } from '../../shared/protocol/errors.ts'
import { tokenizerToBytes } from '../../shared/tokenizer/json.ts'
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts'
import { trainTokenizer } from '../../shared/tokenizer/train.ts'

export interface Document {
  /** For error messages. */
  readonly name: string
  readonly text: string
}

export interface CorpusSource {
  readonly name: string
  readonly licence: string
  /** Their order decides which are validation: the tenth, the twentieth and so on. */
  readonly documents: readonly Document[]
  readonly vocabSize: number
  /** T: a stored sequence has T + 1 tokens, so that each of T positions has its next token. */
  readonly sequenceLength: number
  /** Decides the order of the training sequences. */
  readonly seed: string
}

export interface BuiltCorpus {
  readonly manifest: CorpusManifest
  readonly manifestHash: string
  readonly tokenizer: Tokenizer
  readonly training: PartStats
  readonly validation: PartStats
}

/** Before the remainder that fills no sequence is dropped. */
export interface PartStats {
  readonly documents: number
  /** Of text in UTF-8. */
  readonly bytes: number
  /** With the end-of-text tokens between documents. */
  readonly tokens: number
}

/** Stores a blob and returns its hash: BlobStore's put. */
export type PutBlob = (bytes: Uint8Array) => Promise<string>

const VALIDATION_EVERY = 10

/**
 * The same source gives the same blobs, manifest included.
 * @throws PotluckError `bad-corpus` for documents too few, empty or too short; `bad-config` for sizes out of range.
 */
export async function buildCorpus(source: CorpusSource, put: PutBlob): Promise<BuiltCorpus> {
  const { name, licence, vocabSize, sequenceLength, seed } = source
  requireSequenceLength(sequenceLength)
  requireDocuments(source.documents)
  const { training, validation } = splitDocuments(source.documents)
  const tokenizer = trainTokenizer(textsOf(training), vocabSize)
  const trainingTokens = tokenise(training, tokenizer)
  const validationTokens = tokenise(validation, tokenizer)
  const size = sequenceLength + 1
  requireSequence('training', trainingTokens, size)
  requireSequence('validation', validationTokens, size)
  const manifest: CorpusManifest = {
    version: 1,
    name,
    licence,
    vocabSize,
    sequenceLength,
    tokenizer: await put(tokenizerToBytes(tokenizer)),
    training: await putShards(shuffleSequences(trainingTokens, size, seed), size, put),
    validation: await putShards(wholeSequences(validationTokens, size), size, put),
  }
  return {
    manifest,
    manifestHash: await put(manifestToBytes(manifest)),
    tokenizer,
    training: statsOf(training, trainingTokens),
    validation: statsOf(validation, validationTokens),
  }
}

/** The tenth, twentieth and so on are validation, the others training. */
export function splitDocuments(documents: readonly Document[]) {
  const isValidation = (index: number) => index % VALIDATION_EVERY === VALIDATION_EVERY - 1
  return {
    training: documents.filter((_, index) => !isValidation(index)),
    validation: documents.filter((_, index) => isValidation(index)),
  }
}

function requireSequenceLength(sequenceLength: number): void {
  if (Number.isInteger(sequenceLength) && sequenceLength >= 1 && sequenceLength < MAX_SHARD_TOKENS) return
  throw new PotluckError(
    'bad-config',
    `A sequence length must be a whole number from 1 to ${MAX_SHARD_TOKENS - 1}, not ${sequenceLength}.`,
  )
}

function requireDocuments(documents: readonly Document[]): void {
  if (documents.length === 0) throw new PotluckError('bad-corpus', 'The corpus has no documents.')
  const empty = documents.find(({ text }) => text.trim() === '')
  if (empty !== undefined) {
    throw new PotluckError('bad-corpus', `The document "${empty.name}" is empty. Leave it out of the corpus.`)
  }
  if (documents.length < VALIDATION_EVERY) {
    throw new PotluckError(
      'bad-corpus',
      `The corpus has ${documents.length} documents; it needs at least ${VALIDATION_EVERY}, because every tenth is kept for validation.`,
    )
  }
}

function requireSequence(part: string, tokens: Uint16Array, size: number): void {
  if (tokens.length >= size) return
  throw new PotluckError(
    'bad-corpus',
    `The ${part} documents make ${tokens.length} tokens; one sequence needs ${size}. Add text or choose a shorter sequence length.`,
  )
}

function* textsOf(documents: readonly Document[]): Generator<string> {
  for (const { text } of documents) yield text
}

/** All documents end to end, with end-of-text between each two. */
function tokenise(documents: readonly Document[], tokenizer: Tokenizer): Uint16Array {
  const parts = documents.map(({ text }) => tokenizer.encode(text))
  const count = parts.reduce((sum, part) => sum + part.length, parts.length - 1)
  const tokens = new Uint16Array(count).fill(tokenizer.endOfText)
  let start = 0
  for (const part of parts) {
    tokens.set(part, start)
    start += part.length + 1
  }
  return tokens
}

/** Without the remainder that fills no sequence of `size` tokens. */
function wholeSequences(tokens: Uint16Array, size: number): Uint16Array {
  return tokens.subarray(0, tokens.length - (tokens.length % size))
}

function shuffleSequences(tokens: Uint16Array, size: number, seed: string): Uint16Array {
  const whole = wholeSequences(tokens, size)
  const shuffled = new Uint16Array(whole.length)
  permutation(whole.length / size, JSON.stringify(['corpus', seed])).forEach((from, to) => {
    shuffled.set(whole.subarray(from * size, (from + 1) * size), to * size)
  })
  return shuffled
}

async function putShards(tokens: Uint16Array, size: number, put: PutBlob): Promise<ShardEntry[]> {
  const shardTokens = size * Math.floor(MAX_SHARD_TOKENS / size)
  const shards: ShardEntry[] = []
  for (let start = 0; start < tokens.length; start += shardTokens) {
    const part = tokens.subarray(start, start + shardTokens)
    shards.push({ hash: await put(encodeShard(part)), sequences: part.length / size })
  }
  return shards
}

function statsOf(documents: readonly Document[], tokens: Uint16Array): PartStats {
  const bytes = documents.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0)
  return { documents: documents.length, bytes, tokens: tokens.length }
}
