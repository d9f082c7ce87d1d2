/** Tables as data, and as text for a terminal, CSV and HTML. Pure. */
import { escaped } from './svg.ts'

export type CellValue = string | number | null

export interface Table {
  /** For file names. */
  readonly id: string
  readonly title: string
  readonly columns: readonly string[]
  readonly rows: readonly (readonly CellValue[])[]
  readonly note?: string | undefined
}

/** Numbers with four significant digits, large ones in groups of three, very small and very large ones with a power. */
export function shown(value: CellValue): string {
  if (value === null) return '–'
  if (typeof value === 'string') return value
  const size = Math.abs(value)
  if (size !== 0 && (size < 1e-3 || size >= 1e12)) return value.toExponential(2)
  if (size >= 1_000) return Math.round(value).toLocaleString('en-US')
  return String(Number(value.toPrecision(4)))
}

/** Columns padded; numbers to the right. */
export function textOf({ title, columns, rows, note }: Table): string {
  const lines = [columns, ...rows].map((row) => row.map(shown))
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => line[i]?.length ?? 0)))
  const right = columns.map((_, i) => rows.every((row) => typeof row[i] !== 'string'))
  const pad = (word: string, i: number) =>
    right[i] ? word.padStart(widths[i] ?? 0) : word.padEnd(widths[i] ?? 0)
  const written = lines.map((line) => line.map(pad).join('  ').trimEnd())
  const rule = widths.map((width) => '-'.repeat(width)).join('  ')
  return [title, written[0], rule, ...written.slice(1), ...(note ? [note] : [])].join('\n')
}

/** RFC 4180; numbers in full. */
export function csvOf({ columns, rows }: Table): string {
  const field = (value: CellValue) => {
    const text = value === null ? '' : String(value)
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
  }
  return [columns, ...rows].map((row) => `${row.map(field).join(',')}\r\n`).join('')
}

export function htmlOf({ title, columns, rows, note }: Table): string {
  const classOf = (i: number) => (rows.every((row) => typeof row[i] !== 'string') ? ' class="number"' : '')
  const head = columns.map((name, i) => `<th scope="col"${classOf(i)}>${escaped(name)}</th>`).join('')
  const cell = (value: CellValue, i: number) => `<td${classOf(i)}>${escaped(shown(value))}</td>`
  const body = rows.map((row) => `<tr>${row.map(cell).join('')}</tr>`).join('\n')
  const below = note ? `<p class="note">${escaped(note)}</p>` : ''
  return `<div class="wide"><table><caption>${escaped(title)}</caption><thead><tr>${head}</tr></thead><tbody>\n${body}\n</tbody></table></div>${below}`
}
