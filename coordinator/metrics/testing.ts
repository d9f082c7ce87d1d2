/**
 * For tests: reads Prometheus' text format, version 0.0.4, as strictly as its description allows. Written from
 * https://prometheus.io/docs/instrumenting/exposition_formats/, not from what our library writes.
 */

export interface Scrape {
  /** By the series as it is written: `name` or `name{label="value",…}`. */
  readonly samples: ReadonlyMap<string, number>
  /** By metric. */
  readonly types: ReadonlyMap<string, string>
  readonly help: ReadonlyMap<string, string>
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*'
const LABEL = '[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\\n]|\\\\["\\\\n])*"'
const SAMPLE = new RegExp(`^((${NAME})(?:\\{(${LABEL}(?:,${LABEL})*)\\})?) (\\S+)$`)
const COMMENT = new RegExp(`^# (HELP|TYPE) (${NAME}) (.+)$`)
const NUMBER = /^(?:[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]Inf|NaN)$/
const TYPES = ['counter', 'gauge', 'histogram', 'summary', 'untyped']

/** @throws Error with the line that is not right. */
export function readMetrics(text: string): Scrape {
  if (!text.endsWith('\n')) throw new Error('The last line does not end.')
  const scrape = { samples: new Map<string, number>(), types: new Map<string, string>(), help: new Map() }
  const finished = new Set<string>()
  let current = ''
  for (const line of text.split('\n').filter((one) => one !== '')) {
    const { metric, keep } = readLine(line, scrape)
    if (metric !== current) {
      if (finished.has(metric)) throw new Error(`The lines of ${metric} are not together: ${line}`)
      finished.add(current)
      current = metric
    }
    keep()
  }
  checkHistograms(scrape)
  return scrape
}

interface Line {
  readonly metric: string
  readonly keep: () => void
}
interface Reading {
  readonly samples: Map<string, number>
  readonly types: Map<string, string>
  readonly help: Map<string, string>
}

function readLine(line: string, reading: Reading): Line {
  const [, keyword, metric = '', rest = ''] = COMMENT.exec(line) ?? []
  if (keyword === undefined) return readSample(line, reading)
  const map = keyword === 'HELP' ? reading.help : reading.types
  if (map.has(metric)) throw new Error(`Said twice: ${line}`)
  if (keyword === 'TYPE' && !TYPES.includes(rest)) throw new Error(`No such type: ${line}`)
  return { metric, keep: () => map.set(metric, rest) }
}

function readSample(line: string, { samples, types }: Reading): Line {
  const [, series = '', name = '', , number = ''] = SAMPLE.exec(line) ?? []
  if (series === '') throw new Error(`Neither comment nor sample: ${line}`)
  if (!NUMBER.test(number)) throw new Error(`No number: ${line}`)
  if (samples.has(series)) throw new Error(`Twice: ${line}`)
  const base = name.replace(/_(bucket|sum|count)$/, '')
  const metric = types.get(base) === 'histogram' ? base : name
  if (!types.has(metric)) throw new Error(`Without a type before it: ${line}`)
  return { metric, keep: () => samples.set(series, Number(number.replace('Inf', 'Infinity'))) }
}

/** Buckets never fall, and the last one holds everything. */
function checkHistograms({ samples }: Reading): void {
  const below = new Map<string, number>()
  for (const [series, value] of samples) {
    const [, name, bound, others = ''] = /^(\w+)_bucket\{le="([^"]+)"(?:,(.*))?\}$/.exec(series) ?? []
    if (name === undefined) continue
    const key = others === '' ? `${name}_count` : `${name}_count{${others}}`
    if (value < (below.get(key) ?? 0)) throw new Error(`Fewer than in the bucket before: ${series}`)
    below.set(key, value)
    if (bound === '+Inf' && samples.get(key) !== value) throw new Error(`Not all: ${series}`)
  }
}
