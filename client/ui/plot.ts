/** The loss chart's canvas: uPlot set up with the theme's colours. It is thrown away and made anew when the theme
 *  or the scale changes; new data and new sizes go into the one that stands. */
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { compact, loss } from './format.ts'
import {
  inMetric,
  isSmoothed,
  type LossPoint,
  lossRange,
  type Metric,
  metricText,
  smooth,
  spreadLabels,
} from './lossData.ts'
import { strings } from './strings.ts'

export interface PlotOptions {
  log: boolean
  full: boolean
  metric: Metric
  /** Index of the point under the pointer, or null. */
  onPoint(index: number | null): void
}

export interface LossPlot {
  update(points: readonly LossPoint[]): void
  /** Puts the crosshair on a point; null takes it away. */
  select(index: number | null): void
  destroy(): void
}

const HEIGHT = { narrow: 256, wide: 320 }
/** Below this width the labels at the lines' ends lose their numbers. */
const NARROW = 520
const LABEL_GAP = 16

interface Colours {
  text: string
  muted: string
  divider: string
  heldOut: string
  training: string
  background: string
}

/** Tokens are light-dark() pairs; only a painted element knows which half is meant. */
function readColours(parent: HTMLElement): Colours {
  const probe = document.createElement('span')
  parent.append(probe)
  const read = (token: string) => {
    probe.style.color = `var(${token})`
    return getComputedStyle(probe).color
  }
  const colours = {
    text: read('--text'),
    muted: read('--muted'),
    divider: read('--divider'),
    heldOut: read('--chart-1'),
    training: read('--chart-2'),
    background: read('--surface'),
  }
  probe.remove()
  return colours
}

/** Tokens, training loss as drawn, held-out loss, and the raw training loss when the drawn one is smoothed. */
function toData(points: readonly LossPoint[]): uPlot.AlignedData {
  const training = points.map((point) => point.training)
  const smoothed = isSmoothed(points)
  return [
    points.map((point) => point.tokens),
    smoothed ? smooth(training) : training,
    points.map((point) => point.heldOut),
    smoothed ? training : training.map(() => null),
  ]
}

/** Names the lines at their right ends, in the lines' own order of height. */
function drawLabels(plot: uPlot, colours: Colours, text: (value: number) => string): void {
  const ratio = devicePixelRatio
  const narrow = plot.width < NARROW
  const names = [strings.chart.training, strings.chart.heldOut]
  const ends = names.flatMap((name, index) => {
    const values = plot.data[index + 1] ?? []
    let last = values.length - 1
    while (last >= 0 && values[last] == null) last--
    const value = values[last]
    const x = plot.data[0][last]
    if (value == null || x === undefined) return []
    const label = narrow ? name : `${name} ${text(value)}`
    return [
      {
        label,
        colour: index === 0 ? colours.training : colours.heldOut,
        x: plot.valToPos(x, 'x', true),
        y: plot.valToPos(value, 'y', true),
      },
    ]
  })
  const places = spreadLabels(
    ends.map((end) => end.y),
    LABEL_GAP * ratio,
  )
  const { ctx } = plot
  ctx.save()
  ctx.font = `600 ${12 * ratio}px system-ui, sans-serif`
  ctx.textBaseline = 'middle'
  ctx.textAlign = 'left'
  for (const [index, end] of ends.entries()) {
    const y = places[index] ?? end.y
    ctx.fillStyle = end.colour
    ctx.fillRect(end.x + 7 * ratio, y - 4 * ratio, 3 * ratio, 8 * ratio)
    ctx.fillStyle = colours.text
    ctx.fillText(end.label, end.x + 14 * ratio, y)
  }
  ctx.restore()
}

function settings(
  parent: HTMLElement,
  colours: Colours,
  options: PlotOptions,
  range: () => [number, number],
): uPlot.Options {
  const width = parent.clientWidth
  const narrow = width < NARROW
  const text = metricText(options.metric)
  const tickText = options.metric === 'perplexity' ? compact : (value: number) => loss(value).slice(0, -1)
  const axis = {
    stroke: colours.muted,
    font: '12px system-ui, sans-serif',
    grid: { stroke: colours.divider, width: 1 },
    ticks: { stroke: colours.divider, width: 1, size: 4 },
  }
  return {
    width,
    height: narrow ? HEIGHT.narrow : HEIGHT.wide,
    padding: [10, narrow ? 76 : 128, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 8 } },
    scales: {
      x: { time: false },
      y: { distr: options.log ? 3 : 1, range: () => range() },
    },
    axes: [
      { ...axis, size: 30, space: 70, values: (_plot, splits) => splits.map((value) => compact(value)) },
      {
        ...axis,
        size: 48,
        values: (_plot, splits) => splits.map((value) => (value == null ? '' : tickText(value))),
      },
    ],
    series: [
      {},
      { stroke: colours.training, width: 2, dash: [6, 4], spanGaps: true, points: { show: false } },
      {
        stroke: colours.heldOut,
        width: 2,
        spanGaps: true,
        points: { show: (plot) => plot.data[0].length <= 60, size: 6, fill: colours.heldOut },
      },
      { stroke: colours.training, width: 1, alpha: 0.45, spanGaps: true, points: { show: false } },
    ],
    hooks: {
      draw: [(plot) => drawLabels(plot, colours, text)],
      setCursor: [(plot) => options.onPoint(plot.cursor.idx ?? null)],
    },
  }
}

export function createLossPlot(
  parent: HTMLElement,
  first: readonly LossPoint[],
  options: PlotOptions,
): LossPlot {
  let points = inMetric(first, options.metric)
  const range = () => lossRange(points, options.full)
  const plot = new uPlot(settings(parent, readColours(parent), options, range), toData(points), parent)
  const sizes = new ResizeObserver(() => {
    const width = parent.clientWidth
    if (width > 0 && width !== plot.width) {
      plot.setSize({ width, height: width < NARROW ? HEIGHT.narrow : HEIGHT.wide })
    }
  })
  sizes.observe(parent)
  return {
    update(next) {
      points = inMetric(next, options.metric)
      plot.setData(toData(points))
    },
    select(index) {
      const tokens = index === null ? undefined : points[index]?.tokens
      plot.setCursor({ left: tokens === undefined ? -10 : plot.valToPos(tokens, 'x'), top: 0 })
    },
    destroy() {
      sizes.disconnect()
      plot.destroy()
    },
  }
}
