/** The table of imported corpora, for sqlite.ts. */
import type { Kysely } from 'kysely'
import type { MetadataStore } from './metadata.ts'
import type { Database } from './schema.ts'

export const corpora = (db: Kysely<Database>) =>
  ({
    async corpora() {
      const rows = await db.selectFrom('corpora').selectAll().orderBy('at', 'desc').orderBy('id').execute()
      return rows.map(({ vocab_size, validation_tokens, ...row }) => ({
        ...row,
        vocabSize: vocab_size,
        validationTokens: validation_tokens,
      }))
    },
    async addCorpus({ vocabSize, validationTokens, ...corpus }) {
      const row = { ...corpus, vocab_size: vocabSize, validation_tokens: validationTokens }
      await db.insertInto('corpora').values(row).execute()
    },
    async dropCorpus(id) {
      await db.deleteFrom('corpora').where('id', '=', id).execute()
    },
  }) satisfies Partial<MetadataStore>
