/**
 * The report as one SVG: a column for each setting; above, the validation loss against the bytes that a replica sent,
 * below, the codecs that come close to f32 by their difference to it. Follows the reader's light or dark scheme.
 */

import {
  decades,
  element,
  escaped,
  line,
  linear,
  logarithmic,
  type Scale,
  text,
  ticks,
} from '../common/svg.ts'
import type { Report, Row } from './report.ts'

const [WIDTH, HEIGHT] = [1000, 700]
const LEFT = 88
const PANEL = { width: 212, gap: 14 }
const UPPER: Band = { top: 92, bottom: 350 }
const LOWER: Band = { top: 378, bottom: 590 }
/** Pixels between the three marks of one codec, whose bytes are the same. */
const DODGE = 7
const RADIUS = 3.4
/** How far the axis of bytes goes beyond the least and the most sent, as a factor. */
const MARGIN = 1.6

/** Pixels. */
interface Band {
  readonly top: number
  readonly bottom: number
}

const STYLE = `
svg { --ground: #ffffff; --ink: #1f2328; --soft: #59636e; --rule: #d9dee3;
  --f32: #59636e; --f16: #0b7285; --int8: #1f6feb; --int4: #b35900; --sparse: #a626a4 }
@media (prefers-color-scheme: dark) { svg { --ground: #0d1117; --ink: #e6edf3; --soft: #9198a1; --rule: #30363d;
  --f32: #9198a1; --f16: #56d4dd; --int8: #79b8ff; --int4: #ffa657; --sparse: #e2a4f2 } }
text { font: 12px system-ui, sans-serif; fill: var(--ink) }
.title { font-size: 17px; font-weight: 600 }
.soft { fill: var(--soft) }
.head { font-weight: 600 }
.name { font-size: 11px }
.rule { stroke: var(--rule) }
.reference { stroke: var(--soft); stroke-dasharray: 5 4 }
.mark { stroke-width: 1.8; fill: var(--ground) }
.whole { fill: currentColor }
${['f32', 'f16', 'int8', 'int4', 'sparse'].map((codec) => `.${codec} { color: var(--${codec}); stroke: var(--${codec}) } .name.${codec} { fill: var(--${codec}); stroke: none }`).join('\n')}
`

interface Column {
  readonly x: Scale
  readonly from: number
  readonly to: number
  readonly rows: readonly Row[]
  readonly plain: readonly Row[]
}

export function plotOf(report: Report): string {
  const columns = columnsOf(report)
  const content = [
    element('title', {}, 'Validation loss against bytes sent, by codec'),
    element('desc', {}, escaped(report.conclusions.join(' '))),
    element('style', {}, STYLE),
    element('rect', { width: WIDTH, height: HEIGHT, style: 'fill: var(--ground)' }),
    ...heading(report),
    ...columns.flatMap(bytesAxis), // first, so that marks lie on its lines
    ...upper(report, columns),
    ...lower(columns),
    ...legend(),
  ]
  const size = { width: WIDTH, height: HEIGHT, viewBox: `0 0 ${WIDTH} ${HEIGHT}` }
  return `${element('svg', { xmlns: 'http://www.w3.org/2000/svg', role: 'img', ...size }, `\n${content.join('\n')}\n`)}\n`
}

function columnsOf({ rows, withoutMomentum }: Report): Column[] {
  const bytes = rows.map(({ bytesUp }) => bytesUp)
  const range = [Math.min(...bytes) / MARGIN, Math.max(...bytes) * MARGIN] as const
  const settings = [...new Set(rows.map(settingOf))]
  return settings.map((setting, i) => {
    const from = LEFT + i * (PANEL.width + PANEL.gap)
    const to = from + PANEL.width
    const here = (row: Row) => settingOf(row) === setting
    const x = logarithmic(range, [from, to])
    return { x, from, to, rows: rows.filter(here), plain: withoutMomentum.filter(here) }
  })
}

function settingOf({ fragments, overlap }: Row): string {
  const cut = fragments === 1 ? 'whole (P = 1)' : `P = ${fragments} fragments`
  return `${cut}, ${overlap ? 'overlap' : 'no overlap'}`
}

function heading({ settings }: Report): string[] {
  const { replicas, innerSteps, synchronisations, seeds } = settings
  const how = `M = ${replicas} replicas, H = ${innerSteps}, ${synchronisations} outer steps of each parameter, means over ${seeds} ${seeds === 1 ? 'seed' : 'seeds'}.`
  return [
    text(LEFT, 28, 'DiLoCo through each codec: validation loss against bytes sent', { class: 'title' }),
    text(LEFT, 48, `${how} The coordinator’s delta is int8 (f32 for f32).`, { class: 'soft' }),
  ]
}

function upper(report: Report, columns: readonly Column[]): string[] {
  const losses = [...report.rows, ...report.withoutMomentum].map(({ valLoss }) => valLoss)
  const range = padded([Math.min(...losses), Math.max(...losses, report.start.mean)])
  const y = linear(range, [UPPER.bottom, UPPER.top])
  return [
    yTitle(UPPER, 'validation loss, nats per token'),
    ...columns.flatMap((column, i) => [
      text(column.from, UPPER.top - 12, settingOf(column.rows[0] as Row), { class: 'head' }), // each has rows
      ...frame(column, UPPER, ticks(range, 5), y, (value) => (i === 0 ? String(value) : null)),
      line(column.from, y(report.start.mean), column.to, y(report.start.mean), { class: 'reference' }),
      ...(i === 0
        ? [text(column.to - 4, y(report.start.mean) - 5, 'start', { class: 'soft', 'text-anchor': 'end' })]
        : []),
      ...[...column.rows, ...column.plain].map((row) => mark(row, column.x(row.bytesUp), y(row.valLoss))),
      ...names(column, [...column.rows, ...column.plain], (row) => y(row.valLoss)),
    ]),
  ]
}

/** Only rows that come close: sparse would flatten the others. */
function lower(columns: readonly Column[]): string[] {
  const close = (row: Row) => row.codec !== 'sparse'
  const ends = columns.flatMap(({ rows }) => rows.filter(close).flatMap(endsOf))
  const range = padded([Math.min(...ends, -1e-5), Math.max(...ends, 1e-5)])
  const y = linear(range, [LOWER.bottom, LOWER.top])
  const label = (value: number) => `${value > 0 ? '+' : ''}${Number((100 * value).toPrecision(3))} %`
  return [
    yTitle(LOWER, 'loss relative to f32'),
    ...columns.flatMap((column, i) => [
      ...frame(column, LOWER, ticks(range, 5), y, (value) => (i === 0 ? label(value) : null)),
      line(column.from, y(0), column.to, y(0), { class: 'reference' }),
      ...column.rows.filter(close).flatMap((row) => whisker(row, column.x(row.bytesUp), y)),
      ...column.rows.filter(close).map((row) => mark(row, column.x(row.bytesUp), y(row.relativeToF32))),
      ...names(column, column.rows.filter(close), (row) => Math.min(...endsOf(row).map(y))),
    ]),
    text(LEFT, LOWER.bottom + 40, 'MB sent by one replica in the whole run (log scale)', { class: 'soft' }),
  ]
}

const endsOf = ({ relativeToF32, relativeCi }: Row): number[] => [relativeToF32, ...(relativeCi ?? [])]

/** The range, a twelfth of it below and, for the names, a sixth above. */
function padded([low, high]: readonly [number, number]): readonly [number, number] {
  const more = (high - low) / 12
  return [low - more, high + 2 * more]
}

function frame(
  { from, to }: Column,
  { top, bottom }: Band,
  values: readonly number[],
  y: Scale,
  label: (value: number) => string | null,
): string[] {
  return [
    ...values.map((value) => line(from, y(value), to, y(value), { class: 'rule' })),
    ...values.flatMap((value) => {
      const words = label(value)
      return words === null
        ? []
        : [text(from - 8, y(value) + 4, words, { class: 'soft', 'text-anchor': 'end' })]
    }),
    line(from, top, from, bottom, { class: 'rule' }),
    line(to, top, to, bottom, { class: 'rule' }),
  ]
}

function bytesAxis({ x, from, to, rows }: Column): string[] {
  const bytes = rows.map(({ bytesUp }) => bytesUp)
  return decades([Math.min(...bytes) / MARGIN, Math.max(...bytes) * MARGIN]).flatMap((value) => [
    ...[UPPER, LOWER].map(({ top, bottom }) => line(x(value), top, x(value), bottom, { class: 'rule' })),
    line(from, LOWER.bottom, to, LOWER.bottom, { class: 'rule' }),
    text(x(value), LOWER.bottom + 18, String(value / 1e6), { class: 'soft', 'text-anchor': 'middle' }),
  ])
}

function yTitle({ top, bottom }: Band, words: string): string {
  const [x, y] = [18, (top + bottom) / 2]
  return text(x, y, words, { class: 'soft', 'text-anchor': 'middle', transform: `rotate(-90 ${x} ${y})` })
}

/** Each codec's name over the highest of its marks. */
function names({ x }: Column, rows: readonly Row[], y: (row: Row) => number): string[] {
  return [...new Set(rows.map(({ codec }) => codec))].map((codec) => {
    const own = rows.filter((row) => row.codec === codec)
    const highest = Math.min(...own.map(y))
    const at = x(own[0]?.bytesUp ?? 1)
    return text(at, highest - 10, codec, { class: `name ${codec}`, 'text-anchor': 'middle' })
  })
}

const shift = ({ codec, decay }: Row) =>
  codec === 'f32' || decay === 0.95 ? 0 : decay === 0 ? -DODGE : DODGE

function whisker(row: Row, x: number, y: Scale): string[] {
  if (row.relativeCi === null || row.codec === 'f32') return []
  const [low, high] = row.relativeCi
  const at = x + shift(row)
  const stroke = { class: row.codec, 'stroke-width': 1.3 }
  const end = (value: number) => line(at - 3, y(value), at + 3, y(value), stroke)
  return [line(at, y(low), at, y(high), stroke), end(low), end(high)]
}

function mark(row: Row, x: number, y: number): string {
  return symbol(symbolOf(row), row.codec, row.outer === 'plain' ? x : x + shift(row), y)
}

type Symbol = 'ring' | 'disc' | 'diamond' | 'cross'

function symbolOf({ codec, decay, outer }: Row): Symbol {
  if (outer === 'plain') return 'cross'
  if (codec === 'f32' || decay === 0) return 'ring'
  return decay === 1 ? 'disc' : 'diamond'
}

function symbol(kind: Symbol, codec: string, x: number, y: number): string {
  const shape = { class: `mark ${codec}` }
  switch (kind) {
    case 'ring':
      return element('circle', { cx: x, cy: y, r: RADIUS, ...shape })
    case 'disc':
      return element('circle', { cx: x, cy: y, r: RADIUS, class: `mark whole ${codec}` })
    case 'diamond':
      return element('path', {
        d: `M${x} ${y - 4.6}l4.6 4.6l-4.6 4.6l-4.6 -4.6z`,
        class: `mark whole ${codec}`,
      })
    case 'cross':
      return element('path', { d: `M${x - 4} ${y - 4}l8 8m0 -8l-8 8`, ...shape })
    default:
      return kind satisfies never
  }
}

const LEGEND: readonly [Symbol, string][] = [
  ['ring', 'no error feedback'],
  ['diamond', 'error feedback, decay 0.95'],
  ['disc', 'plain error feedback, decay 1'],
  ['cross', 'no outer momentum; decay 0.95 (f32: 0)'],
]

function legend(): string[] {
  let at = LEFT
  const keys = LEGEND.flatMap(([kind, words]) => {
    const from = at
    at += 32 + 6.4 * words.length
    return [symbol(kind, 'f32', from + 5, HEIGHT - 38), text(from + 16, HEIGHT - 34, words)]
  })
  const note =
    'Bars: 95 % interval (Student’s t) of the difference between runs of one seed. Sparse is off the lower scale.'
  return [...keys, text(LEFT, HEIGHT - 12, note, { class: 'soft' })]
}
