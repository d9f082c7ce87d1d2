/** The table of imported zero-shot tasks, for sqlite.ts. */
import type { Kysely } from 'kysely'
import type { MetadataStore } from './metadata.ts'
import type { Database } from './schema.ts'

export const taskData = (db: Kysely<Database>) =>
  ({
    tasks: () => db.selectFrom('tasks').selectAll().orderBy('name').execute(),
    async setTaskData(task) {
      await db
        .insertInto('tasks')
        .values(task)
        .onConflict((c) => c.column('name').doUpdateSet(task))
        .execute()
    },
    async dropTaskData(name) {
      await db.deleteFrom('tasks').where('name', '=', name).execute()
    },
  }) satisfies Partial<MetadataStore>
