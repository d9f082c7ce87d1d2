/**
 * A corpus as volunteers fetch it: one manifest blob naming a tokenizer blob and shard blobs. A shard holds
 * sequences of `sequenceLength + 1` tokens, already shuffled over the whole corpus when it was built, so that any
 * range of it is a fair sample.
 */
import { z } from 'zod'
import { PotluckError } from '../protocol/errors.ts'
import { hashSchema } from '../protocol/run.ts'

const shardSchema = z.strictObject({
  /** SHA-256 of the blob: an llm.c header and `sequences × (sequenceLength + 1)` uint16 ids. */
  hash: hashSchema,
  sequences: z.number().int().positive(),
})
export type ShardEntry = z.infer<typeof shardSchema>

export const corpusManifestSchema = z.strictObject({
  version: z.literal(1),
  name: z.string(),
  licence: z.string(),
  vocabSize: z.number().int().min(257).max(65_536),
  sequenceLength: z.number().int().positive(),
  tokenizer: hashSchema,
  training: z.array(shardSchema).min(1),
  validation: z.array(shardSchema).min(1),
})
export type CorpusManifest = z.infer<typeof corpusManifestSchema>

/** The manifest's blob: JSON in UTF-8 with sorted keys and no spaces, so that equal manifests have equal hashes. */
export function manifestToBytes(manifest: CorpusManifest): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(corpusManifestSchema.parse(manifest), sortedKeys))
}

function sortedKeys(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** @throws PotluckError `bad-blob` for bytes that are no manifest. */
export function manifestFromBytes(bytes: Uint8Array): CorpusManifest {
  const parsed = corpusManifestSchema.safeParse(parseJSON(bytes))
  if (!parsed.success) throw corrupt(z.prettifyError(parsed.error))
  return parsed.data
}

function parseJSON(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw corrupt('it is not JSON in UTF-8')
  }
}

function corrupt(what: string): PotluckError {
  return new PotluckError('bad-blob', `The corpus manifest is corrupt: ${what.slice(0, 500)}`)
}
