/** `tasks add | list | remove`: the examples of zero-shot tasks. They are published elsewhere and never part of Potluck. */
import { TASK_NAMES, type TaskName } from '../../shared/evaluate/tasks.ts'
import { PotluckError } from '../../shared/protocol/errors.ts'
import { openFileBlobStore } from '../store/fileBlobs.ts'
import { addTask, removeTask, type TaskParts, tasksFolder } from '../tasks/tasks.ts'
import type { Action, Command } from './command.ts'
import { withData } from './data.ts'
import { tableOf } from './table.ts'

const NAMES = TASK_NAMES.join('|')

/** @throws PotluckError `bad-request` */
export function taskNameOf(text: string): TaskName {
  const name = TASK_NAMES.find((one) => one === text)
  if (name) return name
  throw new PotluckError('bad-request', `There is no task "${text}". There is: ${TASK_NAMES.join(', ')}.`)
}

const withTasks = <T>(data: string, use: (parts: TaskParts) => Promise<T>): Promise<T> =>
  withData(data, async ({ folder, store }) =>
    use({ store, examples: await openFileBlobStore(tasksFolder(folder)), now: Date.now }),
  )

const add: Action = {
  usage: `<${NAMES}> <path-or-URL>…`,
  summary:
    'Imports the examples of a task: JSON Lines as published, also as .gz; for PIQA followed by its file of labels (.lst).',
  options: {},
  positionals: [2, 20],
  run: ({ positionals, data }, { print }) =>
    withTasks(data, async (parts) => {
      const [name = '', ...sources] = positionals
      const { examples } = await addTask(parts, taskNameOf(name), sources)
      print(`${name}: ${examples} examples are imported.`)
    }),
}

const list: Action = {
  usage: '',
  summary: 'Shows the tasks that are imported.',
  options: {},
  positionals: [0, 0],
  run: ({ data }, { print }) =>
    withTasks(data, async ({ store }) => {
      const rows = (await store.tasks()).map(({ name, examples, at, source }) => [
        ...[name, String(examples), new Date(at).toISOString().slice(0, 10), source],
      ])
      if (rows.length === 0) print('None is imported.')
      else print(tableOf([['Task', 'Examples', 'Imported', 'From'], ...rows]))
    }),
}

const remove: Action = {
  usage: `<${NAMES}>`,
  summary: 'Deletes the examples of a task. Results stay.',
  options: {},
  positionals: [1, 1],
  run: ({ positionals: [name = ''], data }, { print }) =>
    withTasks(data, async (parts) => {
      await removeTask(parts, taskNameOf(name))
      print(`${name} is removed.`)
    }),
}

export const tasksCommand: Command = {
  summary: 'Examples of zero-shot tasks: HellaSwag, PIQA, ARC-Easy',
  actions: { add, list, remove },
}
