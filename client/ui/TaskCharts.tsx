/**
 * Accuracy of zero-shot tasks by round, with the standard error and the line of chance: a small chart a task, and the
 * same numbers as a table. Nothing while there are no results.
 */
import type { TaskResult } from '../../shared/protocol/evaluation.ts'
import './chart.css'
import { integer, percent1 } from './format.ts'
import { Table } from './parts.tsx'
import { strings } from './strings.ts'
import { byTask, placesIn } from './taskData.ts'

const BOX = { width: 320, height: 120 }
const words = strings.tasks

export function TaskCharts({ results }: { results: readonly TaskResult[] }) {
  if (results.length === 0) return null
  return (
    <section class="card" data-testid="tasks">
      <h2>{words.title}</h2>
      <p class="muted small chart-unit">{words.lines}</p>
      <div class="task-charts">
        {byTask(results).map(({ task, results: of }) => (
          <TaskChart key={task} task={task} results={of} />
        ))}
      </div>
    </section>
  )
}

const withError = ({ accuracy, standardError }: TaskResult['plain']) =>
  words.value(percent1(accuracy), percent1(standardError))

function TaskChart({ task, results }: { task: string; results: readonly TaskResult[] }) {
  const newest = results.at(-1)
  if (newest === undefined) return null
  return (
    <figure class="chart">
      <h3>{task}</h3>
      <figcaption>
        {words.summary({
          round: integer(newest.round),
          normalised: withError(newest.normalised),
          plain: withError(newest.plain),
          chance: percent1(newest.chance),
        })}
      </figcaption>
      <Lines results={results} chance={newest.chance} />
      <details>
        <summary>{strings.chart.showTable}</summary>
        <TaskTable task={task} results={results} />
      </details>
    </figure>
  )
}

/** Its numbers are in the sentence above and in the table below. */
function Lines({ results, chance }: { results: readonly TaskResult[]; chance: number }) {
  const { x, y } = placesIn(BOX, results)
  const path = (of: (result: TaskResult) => number) =>
    results.map((result) => `${x(result.round)},${y(of(result))}`).join(' ')
  return (
    <svg class="task-lines" viewBox={`-6 -6 ${BOX.width + 12} ${BOX.height + 12}`} aria-hidden="true">
      <line class="task-chance" x1={0} x2={BOX.width} y1={y(chance)} y2={y(chance)} />
      <polyline class="task-plain" points={path(({ plain }) => plain.accuracy)} />
      <polyline class="task-normalised" points={path(({ normalised }) => normalised.accuracy)} />
      {results.map(({ round, normalised: { accuracy, standardError } }) => (
        <g key={round} class="task-normalised">
          <line
            x1={x(round)}
            x2={x(round)}
            y1={y(accuracy - standardError)}
            y2={y(accuracy + standardError)}
          />
          <circle cx={x(round)} cy={y(accuracy)} r={2.5} />
        </g>
      ))}
    </svg>
  )
}

function TaskTable({ task, results }: { task: string; results: readonly TaskResult[] }) {
  const { columns } = words
  const numeric = [columns.normalised, columns.plain, columns.chance, columns.examples]
  return (
    <Table
      caption={words.caption(task)}
      columns={[{ name: columns.round }, ...numeric.map((name) => ({ name, numeric: true }))]}
    >
      {[...results].reverse().map((result) => (
        <tr key={result.round}>
          <th scope="row">
            {result.round === 0 ? strings.chart.untrained : strings.round(integer(result.round))}
          </th>
          <td class="numeric">{withError(result.normalised)}</td>
          <td class="numeric">{withError(result.plain)}</td>
          <td class="numeric">{percent1(result.chance)}</td>
          <td class="numeric">{integer(result.examples)}</td>
        </tr>
      ))}
    </Table>
  )
}
