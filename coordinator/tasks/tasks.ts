/**
 * Imported zero-shot tasks: their examples as blobs in a folder of their own (they are nobody's but the operator's, so
 * not among the public ones), and their names in the metadata.
 */
import { join } from 'node:path'
import { z } from 'zod'
import { readExamples } from '../../shared/evaluate/read.ts'
import type { Example, TaskName } from '../../shared/evaluate/tasks.ts'
import { PotluckError } from '../../shared/protocol/errors.ts'
import { LIMITS } from '../../shared/protocol/limits.ts'
import type { TaskRow } from '../../shared/protocol/tasks.ts'
import type { BlobStore } from '../store/blobs.ts'
import type { MetadataStore, TaskRecord } from '../store/metadata.ts'
import { readExampleFile } from './files.ts'

export interface TaskParts {
  readonly store: Pick<MetadataStore, 'tasks' | 'setTaskData' | 'dropTaskData'>
  /** Of `tasksFolder`. */
  readonly examples: BlobStore
  readonly now: () => number
}

/** Within a data folder. */
export const tasksFolder = (data: string): string => join(data, 'tasks')

/**
 * Takes the place of what was imported of that name before.
 * @throws PotluckError `bad-task` with file and line, `not-found`, `too-large`
 */
export async function addTask(
  { store, examples, now }: TaskParts,
  name: TaskName,
  sources: readonly string[],
): Promise<TaskRecord> {
  const files = []
  for (const source of sources) files.push(await readExampleFile(source))
  const read = readExamples(name, files)
  const data = await examples.put(examplesToBytes(read))
  const before = await find(store, name)
  const source = sources.join(' ').slice(0, LIMITS.tasks.source)
  const record = { name, data, examples: read.length, source, at: now() }
  await store.setTaskData(record)
  if (before && before.data !== data) await examples.delete(before.data)
  return record
}

/** @throws PotluckError `not-found` */
export async function removeTask({ store, examples }: TaskParts, name: TaskName): Promise<void> {
  const record = await find(store, name)
  if (!record) throw new PotluckError('not-found', `The task ${name} is not imported.`, 404)
  await store.dropTaskData(name)
  await examples.delete(record.data)
}

const find = async (store: TaskParts['store'], name: TaskName) =>
  (await store.tasks()).find((one) => one.name === name)

/**
 * The records of those names that are imported, in the order of the names.
 * @throws PotluckError `bad-task` when none is.
 */
export async function imported(
  store: Pick<MetadataStore, 'tasks'>,
  names: readonly TaskName[],
): Promise<TaskRecord[]> {
  const all = await store.tasks()
  const found = names.flatMap((name) => all.filter((one) => one.name === name))
  if (found.length > 0) return found
  const how = 'npm run potluck -- tasks add <name> <file>'
  throw new PotluckError('bad-task', `None of ${names.join(', ')} is imported. Import one: ${how}`, 409)
}

export const taskRow = ({ name, examples, source, at }: TaskRecord): TaskRow => ({
  ...{ name, examples, source, at },
})

const storedSchema = z.array(
  z.strictObject({
    context: z.string(),
    choices: z.array(z.string()).min(2).max(LIMITS.tasks.choices),
    gold: z.int().min(0),
  }),
)

const examplesToBytes = (examples: readonly Example[]): Uint8Array =>
  new TextEncoder().encode(
    JSON.stringify(examples.map(({ context, choices, gold }) => ({ context, choices, gold }))),
  )

/** @throws ZodError when the bytes are no examples; they are ours. */
export const examplesFromBytes = (bytes: Uint8Array): Example[] =>
  storedSchema.parse(JSON.parse(new TextDecoder().decode(bytes)))
