/** How far an import has come: a JSON file beside its buckets, replaced whole, so that kill -9 leaves the last one. */
import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { hashSchema } from '../../../shared/protocol/names.ts'

const count = z.number().int().nonnegative()

export const partSchema = z.strictObject({
  name: z.string(),
  split: z.enum(['training', 'validation']),
  /** Bytes; null when nobody has said. */
  size: count.nullable(),
  sha256: hashSchema.nullable(),
  from: z.union([
    z.strictObject({ path: z.string(), modified: z.number() }),
    z.strictObject({ url: z.string() }),
  ]),
})
/** A file to import. */
export type Part = z.infer<typeof partSchema>

export const stateSchema = z.strictObject({
  version: z.literal(1),
  parts: z.array(partSchema).min(1),
  licence: z.string(),
  buckets: count,
  every: count,
  /** Of documents: text, or ids; null before the first. */
  kind: z.enum(['text', 'ids']).nullable(),
  /** The part that is read, and items of it that are done. */
  part: count,
  items: count,
  /** Documents of training parts so far, those set aside included. */
  numbered: count,
  /** Of every bucket; the last one is validation. */
  lengths: z.array(count),
  broken: count,
  brokenExamples: z.array(z.string()),
  /** Null until all is read. */
  tokenizer: hashSchema.nullable(),
  /** Shuffled and made into shards so far; validation comes first. */
  bucketsDone: count,
  training: z.array(z.strictObject({ hash: hashSchema, tokens: count })),
  validation: z.array(z.strictObject({ hash: hashSchema, tokens: count })),
  documents: count,
  tokens: count,
  bytes: count,
  validationTokens: count,
  sample: z.string(),
})
export type ImportState = z.infer<typeof stateSchema>

const FILE = 'state.json'

/** Null when there is none, or none that can be gone on with. */
export async function readState(folder: string): Promise<ImportState | null> {
  const text = await readFile(join(folder, FILE), 'utf8').catch(() => null)
  if (text === null) return null
  try {
    return stateSchema.parse(JSON.parse(text))
  } catch {
    return null
  }
}

export const writeState = (folder: string, state: ImportState): Promise<void> =>
  writeWhole(folder, FILE, Buffer.from(JSON.stringify(state)))

/** Appears whole or not at all. */
export async function writeWhole(folder: string, name: string, bytes: Uint8Array): Promise<void> {
  await mkdir(folder, { recursive: true })
  const temporary = join(folder, `${name}.new`)
  const file = await open(temporary, 'w')
  try {
    await file.writeFile(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, join(folder, name))
}
