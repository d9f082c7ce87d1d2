/**
 * The held-out set: the text on which every round of every run of a corpus is measured. It is a blob of its own in a
 * shard's format, public like the others, so that its hash says exactly what was measured and a volunteer can fetch it.
 */
import { type CorpusManifest, manifestFromBytes } from '../../shared/corpus/manifest.ts'
import { decodeShard, encodeShard } from '../../shared/corpus/shard.ts'
import { tokenizerFromJSON } from '../../shared/tokenizer/json.ts'
import type { BlobStore } from '../store/blobs.ts'

export interface HeldOutSet {
  /** Of its blob. */
  readonly hash: string
  readonly sequences: number
  /** Predicted ones: all but each sequence's first. */
  readonly tokens: number
  /** Of text in UTF-8 that the predicted tokens stand for. */
  readonly bytes: number
}

/** Tokens measured a round when nobody says otherwise: the same ones every time, spread evenly over all validation documents. */
export const HELD_OUT_TOKENS = 25_600

/** Ids of a sample; each costs a sequence's pass, and together they cost no more than twice what the loss of so many tokens does. */
export const sampleTokens = (heldOutTokens: number, sequenceLength: number): number =>
  Math.min(80, Math.floor((2 * heldOutTokens) / sequenceLength))

/**
 * Makes the set of a corpus; the same manifest always gives the same hash. Reads one shard after another, and only those
 * that it takes sequences from.
 * @throws PotluckError `not-found` or `bad-blob` for a corpus that is not whole.
 */
export async function makeHeldOut(
  manifestHash: string,
  store: BlobStore,
  wanted = HELD_OUT_TOKENS,
): Promise<HeldOutSet> {
  const manifest = manifestFromBytes(await store.get(manifestHash))
  const tokenizer = tokenizerFromJSON(await store.get(manifest.tokenizer))
  const chosen = await heldOutSequences(manifest, store, wanted)
  const stride = manifest.sequenceLength + 1
  const sequences = chosen.length / stride
  return {
    hash: await store.put(encodeShard(chosen)),
    sequences,
    tokens: sequences * manifest.sequenceLength,
    bytes: byteCount(chosen, stride, tokenizer),
  }
}

/** About so many predicted tokens in whole sequences, one after another. */
export async function heldOutSequences(
  manifest: CorpusManifest,
  store: BlobStore,
  wanted = HELD_OUT_TOKENS,
): Promise<Uint16Array> {
  const { sequenceLength, validation } = manifest
  const stride = sequenceLength + 1
  const available = validation.reduce((sum, shard) => sum + shard.sequences, 0)
  const indices = evenly(available, wanted / sequenceLength)
  const chosen = new Uint16Array(indices.length * stride)
  let before = 0
  let at = 0
  for (const { hash, sequences } of validation) {
    const here = indices.filter((index) => index >= before && index < before + sequences)
    if (here.length > 0) {
      const tokens = decodeShard(await store.get(hash), { ...manifest, sequences })
      for (const index of here) {
        const from = (index - before) * stride
        chosen.set(tokens.subarray(from, from + stride), at)
        at += stride
      }
    }
    before += sequences
  }
  return chosen
}

/** About `wanted` of so many things, spread evenly; all of them when there are fewer, and at least one. */
export function evenly(available: number, wanted: number): number[] {
  const count = Math.min(available, Math.max(1, Math.round(wanted)))
  return Array.from({ length: count }, (_, i) => Math.floor((i * available) / count))
}

/** Bytes of text that the predicted tokens (all but each sequence's first) stand for. */
export function byteCount(
  sequences: Uint16Array,
  stride: number,
  tokenizer: { byteLength(id: number): number },
): number {
  let bytes = 0
  sequences.forEach((id, i) => {
    if (i % stride !== 0) bytes += tokenizer.byteLength(id)
  })
  return bytes
}
