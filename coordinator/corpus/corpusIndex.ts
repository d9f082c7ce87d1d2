/**
 * An imported corpus as it is stored: one JSON blob naming its tokenizer and its shards of shuffled tokens. It knows no
 * sequence length; a run's manifest takes from every shard as many whole sequences as there are in it.
 */
import { z } from 'zod'
import type { CorpusManifest } from '../../shared/corpus/manifest.ts'
import { MAX_SHARD_TOKENS } from '../../shared/corpus/shard.ts'
import { PotluckError } from '../../shared/protocol/errors.ts'
import { hashSchema } from '../../shared/protocol/names.ts'

const shardSchema = z.strictObject({
  hash: hashSchema,
  tokens: z.number().int().min(1).max(MAX_SHARD_TOKENS),
})
export type TokenShard = z.infer<typeof shardSchema>

export const corpusIndexSchema = z.strictObject({
  version: z.literal(1),
  name: z.string(),
  licence: z.string(),
  vocabSize: z.number().int().min(257).max(65_536),
  tokenizer: hashSchema,
  training: z.array(shardSchema).min(1),
  validation: z.array(shardSchema).min(1),
})
export type CorpusIndex = z.infer<typeof corpusIndexSchema>

export const indexToBytes = (index: CorpusIndex): Uint8Array<ArrayBuffer> =>
  new TextEncoder().encode(JSON.stringify(corpusIndexSchema.parse(index)))

/** @throws PotluckError `bad-blob` */
export function indexFromBytes(bytes: Uint8Array): CorpusIndex {
  try {
    return corpusIndexSchema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)))
  } catch (error) {
    throw new PotluckError('bad-blob', `The corpus's index is corrupt: ${String(error).slice(0, 500)}`)
  }
}

/** @throws PotluckError `bad-corpus` when it has not one sequence of that length to train on, or to validate. */
export function manifestOf(index: CorpusIndex, sequenceLength: number): CorpusManifest {
  const stride = sequenceLength + 1
  const whole = (part: 'training' | 'validation') => {
    const shards = index[part]
      .map(({ hash, tokens }) => ({ hash, sequences: Math.floor(tokens / stride) }))
      .filter(({ sequences }) => sequences > 0)
    if (shards.length > 0) return shards
    throw new PotluckError(
      'bad-corpus',
      `The ${part} text of "${index.name}" makes not one sequence of ${stride} tokens. Choose a preset with shorter sequences, or import more text.`,
    )
  }
  const { name, licence, vocabSize, tokenizer } = index
  const training = whole('training')
  return {
    version: 1,
    name,
    licence,
    vocabSize,
    sequenceLength,
    tokenizer,
    training,
    validation: whole('validation'),
  }
}
