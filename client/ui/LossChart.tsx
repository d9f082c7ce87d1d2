/**
 * Held-out and training loss against accepted tokens: a figure with a one-sentence summary, a chart to point at or
 * to walk with the arrow keys, and the same numbers as a table or a file.
 */
import { useEffect, useId, useMemo, useRef, useState } from 'preact/hooks'
import type { RunView } from '../../shared/protocol/run.ts'
import './chart.css'
import { LossTable } from './LossTable.tsx'
import {
  isClipped,
  isSmoothed,
  type LossPoint,
  lossCsv,
  lossPoints,
  lossSummary,
  METRICS,
  type Metric,
  moveByKey,
  pointText,
} from './lossData.ts'
import { Button, Segmented } from './parts.tsx'
import { createLossPlot, type LossPlot } from './plot.ts'
import { strings } from './strings.ts'
import { theme } from './theme.ts'

function saveCsv(points: readonly LossPoint[]): void {
  const url = URL.createObjectURL(new Blob([lossCsv(points)], { type: 'text/csv' }))
  const link = document.createElement('a')
  link.href = url
  link.download = 'potluck-loss.csv'
  link.click()
  URL.revokeObjectURL(url)
}

interface PlotProps {
  points: readonly LossPoint[]
  log: boolean
  full: boolean
  metric: Metric
}

function Plot({ points, log, full, metric }: PlotProps) {
  const frame = useRef<HTMLElement>(null)
  const plot = useRef<LossPlot | null>(null)
  const [index, setIndex] = useState<number | null>(null)
  const [spoken, setSpoken] = useState('')
  const colours = theme.value

  useEffect(() => {
    if (frame.current === null) return
    const made = createLossPlot(frame.current, points, { log, full, metric, onPoint: setIndex })
    plot.current = made
    return () => made.destroy()
  }, [colours, log, full, metric])
  useEffect(() => plot.current?.update(points), [points])

  const onKeyDown = (event: KeyboardEvent) => {
    const next = moveByKey(event.key, index, points.length)
    if (next === undefined) return
    event.preventDefault()
    setIndex(next)
    plot.current?.select(next)
    const point = next === null ? undefined : points[next]
    setSpoken(point === undefined ? '' : pointText(point))
  }
  const shown = index === null ? undefined : points[index]
  return (
    <>
      <section
        ref={frame}
        class="chart-plot"
        aria-label={strings.chart.label}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: one tab stop, as for any chart that can be walked
        tabIndex={0}
        onKeyDown={onKeyDown}
        onBlur={() => plot.current?.select(null)}
      />
      <p class="chart-readout" aria-hidden="true">
        {shown === undefined ? strings.chart.hint : pointText(shown)}
      </p>
      <p class="visually-hidden" aria-live="polite">
        {spoken}
      </p>
    </>
  )
}

interface ChartProps {
  run: Pick<RunView, 'history' | 'initialValLoss' | 'initialBitsPerByte'>
  title?: string
  /** Shown while there is nothing to draw. */
  empty?: string
}

/** Views arrive several times a second; the history in them changes once a round, and once more when evaluated. */
function versionOf({ history, initialValLoss }: ChartProps['run']): string {
  const newest = history.at(-1)
  return [history.length, newest?.closedAt, newest?.valLoss, initialValLoss].join(' ')
}

export function LossChart({ run, title = strings.chart.title, empty = strings.chart.empty }: ChartProps) {
  const points = useMemo(
    () => lossPoints(run.history, run.initialValLoss, run.initialBitsPerByte),
    [versionOf(run)],
  )
  const id = useId()
  const [table, setTable] = useState(false)
  const [log, setLog] = useState(false)
  const [full, setFull] = useState(false)
  const [metric, setMetric] = useState<Metric>('loss')
  const words = strings.chart
  const scale = log ? words.scaleLog : isClipped(points, full) ? words.scaleClipped : words.scaleFull
  const drawable = points.length > 1
  const both = isSmoothed(points) ? words.linesSmoothed : words.lines
  const lines = metric === 'bits' ? words.linesBits : both
  return (
    <figure class="chart">
      <div class="head">
        <h3>{title}</h3>
        {drawable && (
          <div class="buttons">
            <Button size="small" aria-pressed={table} onClick={() => setTable(!table)}>
              {words.showTable}
            </Button>
            <Button size="small" aria-pressed={log} onClick={() => setLog(!log)}>
              {words.log}
            </Button>
            {isClipped(points, false) && (
              <Button size="small" aria-pressed={full} onClick={() => setFull(!full)}>
                {words.fullRange}
              </Button>
            )}
            <Button size="small" icon="download" onClick={() => saveCsv(points)}>
              {words.csv}
            </Button>
          </div>
        )}
      </div>
      <figcaption>
        <p>{lossSummary(points)}</p>
        {drawable && <p class="muted small chart-unit">{`${words.units[metric]} ${scale} ${lines}`}</p>}
      </figcaption>
      {drawable && !table && (
        <Segmented<Metric>
          legend={words.metric}
          name={`metric-${id}`}
          options={METRICS.map((value) => ({ value, label: words.metrics[value] }))}
          value={metric}
          onChange={(chosen) => setMetric(chosen)}
        />
      )}
      {!drawable && <p class="chart-empty">{empty}</p>}
      {drawable &&
        (table ? (
          <LossTable points={points} />
        ) : (
          <Plot points={points} log={log} full={full} metric={metric} />
        ))}
    </figure>
  )
}
