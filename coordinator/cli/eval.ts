/** `eval <run|checkpoint> --tasks …`: measures weights on zero-shot tasks and prints a table. Nothing is kept. */
import { TASK_NAMES } from '../../shared/evaluate/tasks.ts'
import { LIMITS } from '../../shared/protocol/limits.ts'
import { modelOf } from '../../shared/protocol/modelOf.ts'
import { startEvaluator } from '../evaluate/evaluator.ts'
import { TaskEvaluations } from '../evaluate/taskEvaluations.ts'
import type { TaskEvaluation } from '../store/metadata.ts'
import { imported, tasksFolder } from '../tasks/tasks.ts'
import { type Action, wholeNumber } from './command.ts'
import { withData } from './data.ts'
import { tableOf } from './table.ts'
import { findTarget } from './target.ts'
import { taskNameOf } from './tasks.ts'

const HEADING = ['Task', 'Examples', 'acc', '±', 'acc_norm', '±', 'Chance']
const percent = (share: number) => `${(100 * share).toFixed(2)} %`

const rowOf = ({ task, examples, plain, normalised, chance }: TaskEvaluation): string[] => [
  ...[task, String(examples), percent(plain.accuracy), percent(plain.standardError)],
  ...[percent(normalised.accuracy), percent(normalised.standardError), percent(chance)],
]

export const evalCommand: Action = {
  usage: '<run>[/<round>] [--tasks hellaswag,piqa,arc_easy] [--limit <examples>]',
  summary:
    'Measures a checkpoint on zero-shot tasks as lm-evaluation-harness does: the run’s newest, or that of a round; "latest" is the newest run.',
  options: { tasks: { type: 'string' }, limit: { type: 'string' } },
  positionals: [1, 1],
  async run(given, { print }) {
    const { positionals, values, data } = given
    const names = (values.tasks ?? TASK_NAMES.join(',')).split(',').map(taskNameOf)
    const most = LIMITS.tasks.examples
    const examples = wholeNumber(given, 'limit', { least: 1, most, otherwise: most })
    await withData(data, async ({ folder, store, blobDirectory }) => {
      const { record, checkpoint } = await findTarget(store, positionals[0] ?? '')
      const tasks = await imported(store, [...new Set(names)])
      const evaluator = startEvaluator({ blobs: blobDirectory })
      const results: TaskEvaluation[] = []
      const evaluations = new TaskEvaluations({
        ...{ evaluator, folder: tasksFolder(folder), now: Date.now },
        store: { setTask: async (_run, _round, result) => void results.push(result) },
        changed: () => showProgress(evaluations),
      })
      const { round, fragments } = checkpoint
      const weights = fragments.map((fragment) => fragment.weights)
      const order = { record, model: modelOf(record.config), round, weights, tasks, examples }
      try {
        await evaluations.measure({ ...order, isCurrent: () => true })
      } finally {
        evaluator.close()
      }
      print(`${record.config.name} (${record.id}), round ${round}, weights ${weights.join(' ')}`)
      print(tableOf([HEADING, ...results.map(rowOf)]))
    })
  },
}

/** On a terminal only: one line that is written over. */
function showProgress({ progress }: Pick<TaskEvaluations, 'progress'>): void {
  if (!process.stderr.isTTY) return
  const text = progress === null ? '' : `${progress.task}: ${progress.done} of ${progress.of} examples`
  process.stderr.write(`\r\u001b[K${text}`)
}
