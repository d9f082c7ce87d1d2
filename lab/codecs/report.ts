/** From finished runs to what the experiment says: rows, the noise beside them, and sentences. Pure. */

import { type Estimate, estimate } from '../common/statistics.ts'
import type { RunResult } from './run.ts'
import type { Cell, Settings } from './settings.ts'

export interface FinishedRun {
  readonly cell: Cell
  readonly seed: string
  readonly result: RunResult
}

/** One cell over all seeds. Intervals are Student's, 95 %; null with one seed. */
export interface Row {
  readonly codec: Cell['codec']
  readonly decay: number
  readonly fragments: number
  readonly overlap: boolean
  readonly outer: Cell['outer']
  readonly seeds: number
  /** Nats per token. */
  readonly valLoss: number
  readonly ciLow: number | null
  readonly ciHigh: number | null
  /** Mean over seeds of loss / loss of f32 − 1, in the same setting, with the same seed and Nesterov's outer step. */
  readonly relativeToF32: number
  readonly relativeCi: Estimate['interval']
  /** What that is the mean of, seed by seed, to four digits. */
  readonly relativeBySeed: readonly number[]
  /** Sent by one replica in a whole run. */
  readonly bytesUp: number
  readonly bytesDown: number
}

/** One codec and decay over all settings: first the mean of the settings for each seed, then over seeds. */
export interface Summary {
  readonly codec: Cell['codec']
  readonly decay: number
  readonly outer: Cell['outer']
  readonly relativeToF32: number
  readonly relativeCi: Estimate['interval']
  /** Of its settings' means, the one furthest from 0. */
  readonly worst: number
}

/** What fragments and overlap cost by themselves: f32 in one setting against f32 whole and without overlap. */
export interface SettingCost {
  readonly fragments: number
  readonly overlap: boolean
  readonly relativeToClassic: number
  readonly relativeCi: Estimate['interval']
}

export interface Report {
  readonly settings: Settings & { readonly seeds: number; readonly downlink: string }
  /** Nats per token of the warm checkpoints, where every run begins, and their interval over seeds. */
  readonly start: Estimate
  /** Nesterov's outer step. */
  readonly rows: Row[]
  /** An outer step of rate 1 without momentum. */
  readonly withoutMomentum: Row[]
  /** f32 against f32 that starts one unit in the last place away. */
  readonly noise: Row[]
  readonly summary: Summary[]
  readonly costOfSettings: SettingCost[]
  readonly conclusions: string[]
}

export function reportOf(settings: Settings, seeds: readonly string[], runs: readonly FinishedRun[]): Report {
  const cells = new Map(runs.map(({ cell }) => [JSON.stringify(cell), cell]))
  const all = [...cells.values()].map((cell) => ({ cell, row: rowOf(cell, seeds, runs) }))
  const rowsWhere = (keep: (cell: Cell) => boolean) =>
    all.filter(({ cell }) => keep(cell)).map(({ row }) => row)
  const rows = rowsWhere(({ twin, outer }) => !twin && outer === 'nesterov')
  const summary = summaries(seeds, runs)
  const costOfSettings = costsOf(rows, seeds, runs)
  return {
    settings: { ...settings, seeds: seeds.length, downlink: 'int8; f32 when the uplink is f32' },
    start: estimate(seeds.map((seed) => startOf(seed, runs))),
    rows,
    withoutMomentum: rowsWhere(({ outer }) => outer === 'plain'),
    noise: rowsWhere(({ twin }) => twin),
    summary,
    costOfSettings,
    conclusions: [
      noiseSentenceOf(seeds, runs),
      ...summary.map(sentenceOf),
      ...costOfSettings.map(costSentenceOf),
      ...['int8', 'int4'].map((codec) => verdictOf(codec, rows)),
    ],
  }
}

function startOf(seed: string, runs: readonly FinishedRun[]): number {
  return runs.find((run) => run.seed === seed && !run.cell.twin)?.result.startLoss ?? Number.NaN
}

function rowOf(cell: Cell, seeds: readonly string[], runs: readonly FinishedRun[]): Row {
  const results = seeds.map((seed) => resultOf(cell, seed, runs))
  const loss = estimate(results.map(({ valLoss }) => valLoss))
  const bySeed = seeds.map((seed) => relativeOf(cell, seed, runs))
  const relative = estimate(bySeed)
  const { codec, decay, fragments, overlap, outer } = cell
  return {
    codec,
    decay,
    fragments,
    overlap,
    outer,
    seeds: seeds.length,
    valLoss: loss.mean,
    ciLow: loss.interval?.[0] ?? null,
    ciHigh: loss.interval?.[1] ?? null,
    relativeToF32: relative.mean,
    relativeCi: relative.interval,
    relativeBySeed: bySeed.map((value) => Number(value.toPrecision(4))),
    bytesUp: results[0]?.bytesUp ?? 0, // the same for every seed, as is the next
    bytesDown: results[0]?.bytesDown ?? 0,
  }
}

function relativeOf(cell: Cell, seed: string, runs: readonly FinishedRun[]): number {
  const { valLoss } = resultOf(cell, seed, runs)
  return valLoss / resultOf(f32In(cell.fragments, cell.overlap), seed, runs).valLoss - 1
}

const f32In = (fragments: number, overlap: boolean): Cell => ({
  codec: 'f32',
  decay: 0,
  fragments,
  overlap,
  outer: 'nesterov',
  twin: false,
})

function costsOf(
  rows: readonly Row[],
  seeds: readonly string[],
  runs: readonly FinishedRun[],
): SettingCost[] {
  const others = rows.filter(({ codec, fragments, overlap }) => codec === 'f32' && (fragments > 1 || overlap))
  return others.map(({ fragments, overlap }) => {
    const lossOf = (cell: Cell, seed: string) => resultOf(cell, seed, runs).valLoss
    const { mean, interval } = estimate(
      seeds.map((seed) => lossOf(f32In(fragments, overlap), seed) / lossOf(f32In(1, false), seed) - 1),
    )
    return { fragments, overlap, relativeToClassic: mean, relativeCi: interval }
  })
}

function resultOf(cell: Cell, seed: string, runs: readonly FinishedRun[]): RunResult {
  const key = JSON.stringify(sorted(cell))
  const run = runs.find((one) => one.seed === seed && JSON.stringify(sorted(one.cell)) === key)
  if (run === undefined) throw new Error(`internal: no run of ${key} with seed ${seed}`)
  return run.result
}

const sorted = (cell: Cell) => Object.entries(cell).sort(([a], [b]) => (a < b ? -1 : 1))

function summaries(seeds: readonly string[], runs: readonly FinishedRun[]): Summary[] {
  const groups = new Map<string, Cell[]>()
  for (const { cell, seed } of runs) {
    if (cell.twin || seed !== seeds[0] || (cell.codec === 'f32' && cell.outer === 'nesterov')) continue
    const key = JSON.stringify([cell.codec, cell.decay, cell.outer])
    groups.set(key, [...(groups.get(key) ?? []), cell])
  }
  return [...groups.values()].map((cells) => summaryOf(cells, seeds, runs))
}

function summaryOf(cells: readonly Cell[], seeds: readonly string[], runs: readonly FinishedRun[]): Summary {
  const { codec, decay, outer } = cells[0] as Cell // a group has a cell at least
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
  const pooled = estimate(seeds.map((seed) => mean(cells.map((cell) => relativeOf(cell, seed, runs)))))
  const means = cells.map((cell) => mean(seeds.map((seed) => relativeOf(cell, seed, runs))))
  const worst = means.reduce((far, value) => (Math.abs(value) > Math.abs(far) ? value : far), 0)
  return { codec, decay, outer, relativeToF32: pooled.mean, relativeCi: pooled.interval, worst }
}

/** What a codec may cost: 0.5 %. */
const TOLERANCE = 0.005

/** What pairing is worth: how far twins end apart, and how far seeds. */
function noiseSentenceOf(seeds: readonly string[], runs: readonly FinishedRun[]): string {
  const largest = (chosen: readonly FinishedRun[]) =>
    unsigned(Math.max(...chosen.map(({ cell, seed }) => Math.abs(relativeOf(cell, seed, runs)))))
  const twins = largest(runs.filter(({ cell }) => cell.twin))
  const f16 = largest(runs.filter(({ cell }) => cell.codec === 'f16'))
  const losses = seeds.map((seed) => resultOf(f32In(1, false), seed, runs).valLoss)
  const spread = unsigned(Math.max(...losses) / Math.min(...losses) - 1)
  return `Noise: in any single run, f32 that starts one unit in the last place away ends within ${twins} of f32, and f16 within ${f16}; seeds differ by up to ${spread}.`
}

function sentenceOf({ codec, decay, outer, relativeToF32, relativeCi, worst }: Summary): string {
  const how = outer === 'plain' ? ', outer step without momentum' : ''
  return `${codec}, decay ${decay}${how}: ${percent(relativeToF32)} ${range(relativeCi)} against f32 over all settings, ${percent(worst)} in the worst.`
}

function costSentenceOf({ fragments, overlap, relativeToClassic, relativeCi }: SettingCost): string {
  const what = `P=${fragments} ${overlap ? 'with' : 'without'} overlap`
  return `f32, ${what}: ${percent(relativeToClassic)} ${range(relativeCi)} against P=1 without overlap.`
}

function verdictOf(codec: string, rows: readonly Row[]): string {
  const fed = rows.filter((row) => row.codec === codec && row.decay > 0)
  const inside = fed.filter(({ relativeCi }) => relativeCi?.every(isTolerable))
  return `${codec} with error feedback: the whole interval is within 0.5 % of f32 in ${inside.length} of ${fed.length} cells.`
}

const isTolerable = (relative: number) => Math.abs(relative) <= TOLERANCE
const range = (interval: Estimate['interval']) =>
  interval === null ? '[one seed]' : `[${interval.map(percent).join(', ')}]`

const unsigned = (part: number) => percent(part).replace('+', '')

/** With its sign and two significant digits, because noise is small; below a ten-thousandth of a percent, one. */
export function percent(part: number): string {
  const value = 100 * part
  const size = Math.abs(value)
  const digits = size === 0 ? 0 : Math.max(2, 1 - Math.floor(Math.log10(size)))
  const written = size > 0 && size < 1e-4 ? value.toExponential(0) : value.toFixed(digits)
  return `${value > 0 ? '+' : ''}${written} %`
}
