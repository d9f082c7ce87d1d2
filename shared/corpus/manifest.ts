/**
 * A corpus as volunteers fetch it: one manifest blob naming a tokenizer blob and shard blobs. A shard holds
 * sequences of `sequenceLength + 1` tokens, already shuffled over the whole corpus when it was built, so that any
 * range of it is a fair sample.
 */
import { z } from 'zod'
import { hashSchema } from '../protocol/run.ts'

const shardSchema = z.strictObject({
  /** SHA-256 of the blob: an llm.c header and `sequences × (sequenceLength + 1)` uint16 ids. */
  hash: hashSchema,
  sequences: z.number().int().positive(),
})

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
