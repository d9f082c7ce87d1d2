/** Zero-shot tasks: the results by round, which tasks are imported, and a button to measure the newest weights now. */
import { useState } from 'preact/hooks'
import type { AdminView } from '../../shared/protocol/admin.ts'
import type { TaskProgress } from '../../shared/protocol/tasks.ts'
import { integer, moment } from '../ui/format.ts'
import { Button, Progress } from '../ui/parts.tsx'
import { strings } from '../ui/strings.ts'
import { TaskCharts } from '../ui/TaskCharts.tsx'
import { api, errorText } from './api.ts'

const words = strings.admin.tasks

type TasksProps = Pick<AdminView, 'run' | 'tasks' | 'measuring'> & { now: number }

const measuringText = ({ task, round, done, of }: TaskProgress): string =>
  words.measuring({ task, round: integer(round), done: integer(done), of: integer(of) })

export function Tasks({ run, tasks, measuring, now }: TasksProps) {
  const [busy, setBusy] = useState(false)
  const [refusal, setRefusal] = useState<string | null>(null)
  if (run === null) return null
  const measure = async () => {
    setBusy(true)
    setRefusal(null)
    await api.measureTasks(run.id).catch((error: unknown) => setRefusal(errorText(error)))
    setBusy(false)
  }
  return (
    <>
      <TaskCharts results={run.tasks} />
      <section class="card" id="tasks" data-testid="task-data">
        <h2>{words.title}</h2>
        {tasks.length === 0 ? (
          <p class="muted">{words.none}</p>
        ) : (
          <ul class="task-data">
            {tasks.map(({ name, examples, source, at }) => (
              <li key={name}>
                {words.imported({ name, examples: integer(examples), source, time: moment(at, now) })}
              </li>
            ))}
          </ul>
        )}
        {measuring !== null && (
          <p>
            {measuringText(measuring)}
            <Progress value={measuring.done} max={measuring.of} text={measuringText(measuring)} />
          </p>
        )}
        <div class="buttons">
          <Button
            disabled={busy || tasks.length === 0 || run.weights === null}
            onClick={() => void measure()}
          >
            {words.measure}
          </Button>
        </div>
        {refusal !== null && (
          <p class="action-fault" role="alert">
            {refusal}
          </p>
        )}
      </section>
    </>
  )
}
