/**
 * A shard's bytes, in llm.c's format: 256 little-endian int32 (magic 20240520, version 1, number of tokens, the rest
 * zero), then that many little-endian uint16 ids. Which sequence is where is epoch.ts's business.
 */
import { PotluckError } from '../protocol/errors.ts'

const MAGIC = 20240520
const VERSION = 1
const HEADER_BYTES = 256 * 4
/** The most tokens we put in one shard; a blob of 2 MiB. */
export const MAX_SHARD_TOKENS = 2 ** 20

/** What a shard must agree with: its corpus's manifest. */
export interface ShardExpectation {
  /** Ids are below this. */
  readonly vocabSize: number
  /** A shard holds sequences of one token more than this. */
  readonly sequenceLength: number
  /**
   * Sequences the manifest promises: as many whole ones as the shard's tokens make, and what remains is not used. Left
   * out, nothing may remain.
   */
  readonly sequences?: number
}

export function encodeShard(tokens: Uint16Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER_BYTES + 2 * tokens.length)
  const view = new DataView(bytes.buffer)
  view.setInt32(0, MAGIC, true)
  view.setInt32(4, VERSION, true)
  view.setInt32(8, tokens.length, true)
  tokens.forEach((id, index) => {
    view.setUint16(HEADER_BYTES + 2 * index, id, true)
  })
  return bytes
}

/**
 * The tokens of a shard's whole sequences, every id inside the vocabulary.
 * @throws PotluckError `bad-blob` that says what is wrong.
 */
export function decodeShard(bytes: Uint8Array, expected: ShardExpectation): Uint16Array<ArrayBuffer> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const tokens = new Uint16Array(readCount(view, expected))
  for (let index = 0; index < tokens.length; index++) {
    const id = view.getUint16(HEADER_BYTES + 2 * index, true)
    if (id >= expected.vocabSize) {
      throw corrupt(`token ${index} is ${id}, outside a vocabulary of ${expected.vocabSize}`)
    }
    tokens[index] = id
  }
  return tokens
}

/** Checks all but the ids themselves, and returns how many are in whole sequences. */
function readCount(view: DataView, { sequenceLength, sequences }: ShardExpectation): number {
  if (view.byteLength < HEADER_BYTES) {
    throw corrupt(`it has ${view.byteLength} bytes, less than its header's ${HEADER_BYTES}`)
  }
  const magic = view.getInt32(0, true)
  if (magic !== MAGIC) throw corrupt(`its first number is ${magic}, not ${MAGIC}`)
  const version = view.getInt32(4, true)
  if (version !== VERSION) throw corrupt(`its version is ${version}; ${VERSION} is known`)
  const count = view.getInt32(8, true)
  const size = HEADER_BYTES + 2 * count
  if (view.byteLength !== size) {
    throw corrupt(`${count} tokens make ${size} bytes, but it has ${view.byteLength}`)
  }
  const stride = sequenceLength + 1
  const held = Math.floor(count / stride)
  if (sequences === undefined && held * stride !== count) {
    throw corrupt(`${count} tokens are no whole number of sequences of ${stride}`)
  }
  if (sequences !== undefined && held !== sequences) {
    throw corrupt(`it holds ${held} sequences; the manifest says ${sequences}`)
  }
  return held * stride
}

function corrupt(what: string): PotluckError {
  return new PotluckError('bad-blob', `The shard is corrupt: ${what}.`)
}
