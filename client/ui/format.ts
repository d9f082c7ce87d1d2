/**
 * Numbers, sizes and times as people read them, by Intl. What is not known is "–", never 0. Sentences live in
 * strings.ts; this file knows only the short units.
 */

export const UNKNOWN = '–'

/** The language of numbers and times; strings.ts has the words for the same language. */
const LOCALE = 'en'

type Maybe = number | null | undefined

const known = (value: Maybe): value is number => typeof value === 'number' && Number.isFinite(value)

const formatter = (options: Intl.NumberFormatOptions) => {
  const format = new Intl.NumberFormat(LOCALE, options)
  return (value: Maybe) => (known(value) ? format.format(value) : UNKNOWN)
}

const upToOneDecimal = formatter({ maximumFractionDigits: 1 })
const compactFormat = formatter({ notation: 'compact', maximumFractionDigits: 1 })

/** Whole numbers with separators: `12,345`. */
export const integer = formatter({ maximumFractionDigits: 0 })
/** Cross entropy, nats per token. */
export const loss = formatter({ minimumFractionDigits: 3, maximumFractionDigits: 3 })
/** Learning rates and the like: three significant digits. */
export const significant = formatter({ maximumSignificantDigits: 3 })
/** A factor: `3.4×`, `120×`. */
export const times = (value: Maybe) =>
  known(value) ? `${value < 10 ? upToOneDecimal(value) : integer(value)}×` : UNKNOWN
/** A share from 0 to 1. Below one in a hundred it keeps a decimal. */
export const percent = (value: Maybe) =>
  formatter({ style: 'percent', maximumFractionDigits: known(value) && value > 0 && value < 0.01 ? 1 : 0 })(
    value,
  )

/** A share with one decimal, always: `31.4%`. */
export const percent1 = formatter({ style: 'percent', minimumFractionDigits: 1, maximumFractionDigits: 1 })

/** Separators up to 9,999, then `12.3K`, `4.5M`. */
export const compact = (value: Maybe) =>
  known(value) && Math.abs(value) < 10_000 ? integer(value) : compactFormat(value)

const BYTE_UNITS = ['B', 'kB', 'MB', 'GB', 'TB']

const byteUnit = (value: number) =>
  Math.min(BYTE_UNITS.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, value)) / 3)))

const inUnit = (value: number, unit: number) => {
  const scaled = value / 1_000 ** unit
  return scaled >= 100 || unit === 0 ? integer(scaled) : upToOneDecimal(scaled)
}

/** Decimal units, as networks count: `1.2 MB`. */
export function bytes(value: Maybe): string {
  if (!known(value)) return UNKNOWN
  const unit = byteUnit(value)
  return `${inUnit(value, unit)} ${BYTE_UNITS[unit]}`
}

/** Both in the total's unit: `0.4 of 1.2 MB`. */
export function bytesOf(done: number, total: number): string {
  const unit = byteUnit(total)
  return `${inUnit(Math.min(done, total), unit)} of ${inUnit(total, unit)} ${BYTE_UNITS[unit]}`
}

const DURATION_UNITS: [seconds: number, name: string][] = [
  [86_400, 'd'],
  [3_600, 'h'],
  [60, 'min'],
  [1, 's'],
]

/** The two largest units: `3 min 20 s`, `2 h`. Shorter than a second is `under 1 s`. */
export function duration(milliseconds: Maybe): string {
  if (!known(milliseconds)) return UNKNOWN
  let rest = Math.round(Math.max(0, milliseconds) / 1_000)
  if (rest === 0) return 'under 1 s'
  const parts: string[] = []
  for (const [size, name] of DURATION_UNITS) {
    const count = Math.floor(rest / size)
    rest -= count * size
    if (count > 0) parts.push(`${integer(count)} ${name}`)
    else if (parts.length > 0) break
    if (parts.length === 2) break
  }
  return parts.join(' ')
}

/** For timers: `3:20`, `1:02:05`; 0:00 when it is over. */
export function countdown(milliseconds: Maybe): string {
  if (!known(milliseconds)) return UNKNOWN
  const seconds = Math.ceil(Math.max(0, milliseconds) / 1_000)
  const two = (value: number) => String(value).padStart(2, '0')
  const [h, m, s] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60, seconds % 60]
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`
}

const clockFormat = new Intl.DateTimeFormat(LOCALE, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })
const clockSecondsFormat = new Intl.DateTimeFormat(LOCALE, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
})
const dateFormat = new Intl.DateTimeFormat(LOCALE, { day: 'numeric', month: 'short' })

/** `14:05` on this device's clock. */
export const clock = (at: Maybe) => (known(at) ? clockFormat.format(at) : UNKNOWN)
export const clockSeconds = (at: Maybe) => (known(at) ? clockSecondsFormat.format(at) : UNKNOWN)

/** The time alone today, with the date otherwise. */
export function moment(at: Maybe, now: number): string {
  if (!known(at)) return UNKNOWN
  const sameDay = new Date(at).toDateString() === new Date(now).toDateString()
  return sameDay ? clock(at) : `${dateFormat.format(at)}, ${clock(at)}`
}

/** `now`, `40 s ago`, `3 min ago`, `2 h ago`: one unit is enough for a table. */
export function ago(at: Maybe, now: number): string {
  if (!known(at)) return UNKNOWN
  const seconds = Math.round((now - at) / 1_000)
  if (seconds < 5) return 'now'
  const [size, name] = DURATION_UNITS.find(([unit]) => seconds >= unit) ?? [1, 's']
  return `${integer(Math.floor(seconds / size))} ${name} ago`
}

/** `420 tokens/s`. */
export const tokensPerSecond = (value: Maybe) => `${compact(value)} tokens/s`

/** English plural with the number: `1 volunteer`, `2 volunteers`. */
export const count = (value: number, one: string, many = `${one}s`) =>
  `${compact(value)} ${value === 1 ? one : many}`
