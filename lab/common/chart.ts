/** One diagram of lines or marks as SVG, with linear or logarithmic axes; follows the reader's light or dark scheme. */
import { decades, element, escaped, line, linear, logarithmic, type Scale, text, ticks } from './svg.ts'

export interface Axis {
  readonly label: string
  readonly log?: boolean
  /** Default: what the points span, and a little more. */
  readonly range?: readonly [number, number]
}

export interface Point {
  readonly x: number
  readonly y: number
  /** A whisker: both ends. */
  readonly between?: readonly [number, number] | null
}

export interface Series {
  readonly name: string
  readonly points: readonly Point[]
  /** Default: both. */
  readonly draw?: 'line' | 'marks' | 'dashes'
  /** Which of the eight colours; default: its place among the series. */
  readonly hue?: number
}

export interface Chart {
  readonly title: string
  readonly x: Axis
  readonly y: Axis
  readonly series: readonly Series[]
}

const [WIDTH, HEIGHT] = [640, 400]
const BOX = { left: 74, right: 624, top: 46, bottom: 318 }
const HUES = 8

const STYLE = `
.chart { --ground: #ffffff; --ink: #1f2328; --soft: #59636e; --rule: #d9dee3; --c0: #1f6feb; --c1: #b35900; --c2: #1a7f37;
  --c3: #a626a4; --c4: #0b7285; --c5: #cf222e; --c6: #6e7781; --c7: #7d4e00 }
@media (prefers-color-scheme: dark) { .chart { --ground: #0d1117; --ink: #e6edf3; --soft: #9198a1; --rule: #30363d;
  --c0: #79b8ff; --c1: #ffa657; --c2: #7ee787; --c3: #e2a4f2; --c4: #56d4dd; --c5: #ff9492; --c6: #9198a1; --c7: #e3b341 } }
.chart text { font: 12px system-ui, sans-serif; fill: var(--ink) }
.chart .title { font-size: 15px; font-weight: 600 }
.chart .soft { fill: var(--soft) }
.chart .rule { stroke: var(--rule) }
.chart .line { fill: none; stroke-width: 1.8 }
${Array.from({ length: HUES }, (_, i) => `.chart .s${i} { stroke: var(--c${i}) } .chart .m${i} { fill: var(--c${i}) }`).join('\n')}
`

/** At least one point has to be there; points that are no numbers, or not positive on a logarithmic axis, are left out. */
export function chartOf({ title, x, y, series }: Chart): string {
  const drawable = ({ x: at, y: value }: Point) =>
    Number.isFinite(at) && Number.isFinite(value) && !(x.log && at <= 0) && !(y.log && value <= 0)
  const drawn = series.map((one) => ({ ...one, points: one.points.filter(drawable) }))
  const points = drawn.flatMap((one) => one.points)
  const across = axisOf(
    x,
    points.map((point) => point.x),
    [BOX.left, BOX.right],
  )
  const up = axisOf(
    y,
    points.flatMap((point) => [point.y, ...(point.between ?? [])]),
    [BOX.bottom, BOX.top],
  )
  const content = [
    element('title', {}, escaped(title)),
    element('style', {}, STYLE),
    element('rect', { width: WIDTH, height: HEIGHT, style: 'fill: var(--ground)' }),
    text(BOX.left, 24, title, { class: 'title' }),
    ...frame(x, across, y, up),
    ...drawn.flatMap((one, i) => drawSeries(one, hueOf(one, i), across.scale, up.scale)),
    ...legend(drawn),
  ]
  const size = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT }
  return `${element('svg', { xmlns: 'http://www.w3.org/2000/svg', role: 'img', class: 'chart', ...size }, `\n${content.join('\n')}\n`)}\n`
}

interface Drawn {
  readonly scale: Scale
  readonly marks: readonly number[]
}

function axisOf(axis: Axis, values: readonly number[], pixels: readonly [number, number]): Drawn {
  const range = axis.range ?? (axis.log ? widened(values) : padded(values))
  if (axis.log) return { scale: logarithmic(range, pixels), marks: logMarks(range) }
  return { scale: linear(range, pixels), marks: ticks(range, 6) }
}

function padded(values: readonly number[]): readonly [number, number] {
  const [low, high] = [Math.min(...values), Math.max(...values)]
  const more = high > low ? (high - low) / 16 : Math.max(Math.abs(high) / 10, 1e-6)
  return [low >= 0 && low < more ? 0 : low - more, high + more]
}

function widened(values: readonly number[]): readonly [number, number] {
  const [low, high] = [Math.min(...values), Math.max(...values)]
  const factor = high > low ? (high / low) ** (1 / 16) : 1.5
  return [low / factor, high * factor]
}

/** Powers of ten, and where there are fewer than three, their doubles and fives too, or round numbers. */
function logMarks(range: readonly [number, number]): number[] {
  const whole = decades(range)
  if (whole.length >= 3) return whole
  const [low, high] = range
  const all = decades([low / 10, high]).flatMap((power) => [power, 2 * power, 5 * power])
  const inside = all.filter((value) => value >= low && value <= high)
  return inside.length >= 2 ? inside : ticks(range, 4)
}

function frame(x: Axis, across: Drawn, y: Axis, up: Drawn): string[] {
  const { left, right, top, bottom } = BOX
  const middle = (top + bottom) / 2
  return [
    ...across.marks.flatMap((value) => [
      line(across.scale(value), top, across.scale(value), bottom, { class: 'rule' }),
      text(across.scale(value), bottom + 18, short(value), { class: 'soft', 'text-anchor': 'middle' }),
    ]),
    ...up.marks.flatMap((value) => [
      line(left, up.scale(value), right, up.scale(value), { class: 'rule' }),
      text(left - 8, up.scale(value) + 4, short(value), { class: 'soft', 'text-anchor': 'end' }),
    ]),
    text((left + right) / 2, bottom + 38, x.label, { class: 'soft', 'text-anchor': 'middle' }),
    text(18, middle, y.label, {
      class: 'soft',
      'text-anchor': 'middle',
      transform: `rotate(-90 18 ${middle})`,
    }),
  ]
}

/** 1.5k, 20M, 0.003, 1e-6. */
export function short(value: number): string {
  const size = Math.abs(value)
  if (size === 0) return '0'
  if (size < 1e-3) return value.toExponential().replace('+', '')
  const [factor, unit] =
    size >= 1e9 ? [1e9, 'G'] : size >= 1e6 ? [1e6, 'M'] : size >= 1e4 ? [1e3, 'k'] : [1, '']
  return `${Number((value / factor).toPrecision(6))}${unit}`
}

function drawSeries({ points, draw }: Series, hue: number, x: Scale, y: Scale): string[] {
  const path = points
    .map((point, i) => `${i === 0 ? 'M' : 'L'}${pixel(x(point.x))} ${pixel(y(point.y))}`)
    .join('')
  const dashes: Record<string, string> = draw === 'dashes' ? { 'stroke-dasharray': '5 4' } : {}
  const lines =
    draw === 'marks' || path === '' ? [] : [element('path', { d: path, class: `line s${hue}`, ...dashes })]
  if (draw === 'line' || draw === 'dashes') return lines
  return [
    ...lines,
    ...points.flatMap(({ x: at, between }) =>
      between
        ? [line(x(at), y(between[0]), x(at), y(between[1]), { class: `s${hue}`, 'stroke-width': 1.3 })]
        : [],
    ),
    ...points.map((point) => element('circle', { cx: x(point.x), cy: y(point.y), r: 3.2, class: `m${hue}` })),
  ]
}

const hueOf = ({ hue }: Series, index: number): number => (hue ?? index) % HUES

const pixel = (value: number) => Math.round(value * 100) / 100

/** Under the diagram, in as many lines as needed. */
function legend(series: readonly Series[]): string[] {
  let [at, row] = [BOX.left, 0]
  return series.flatMap((one, i) => {
    const { name } = one
    const length = 30 + 6.6 * name.length
    if (at > BOX.left && at + length > WIDTH) [at, row] = [BOX.left, row + 1]
    const [from, y] = [at, BOX.bottom + 58 + 16 * row]
    at += length
    return [
      element('circle', { cx: from + 5, cy: y - 4, r: 4, class: `m${hueOf(one, i)}` }),
      text(from + 14, y, name),
    ]
  })
}
