/** The demo's table, a line at a time. */
import { timesLess } from '../../shared/diloco/traffic.ts'
import type { RoundSummary } from '../../shared/protocol/run.ts'

const COLUMNS: [title: string, width: number][] = [
  ['round', 5],
  ['replicas', 8],
  ['tokens', 9],
  ['train loss', 10],
  ['val loss', 8],
  ['bits/byte', 9],
  ['seconds', 7],
  ['sent', 8],
  ['received', 9],
  ['less than DP', 12],
]

const line = (cells: string[]): string =>
  cells.map((cell, i) => cell.padStart(COLUMNS[i]?.[1] ?? 0)).join('  ')

export const header = (): string => line(COLUMNS.map(([title]) => title))

export function untrained(valLoss: number, bitsPerByte: number): string {
  return line(['0', '', '0', '', valLoss.toFixed(3), bitsPerByte.toFixed(3), '', '', '', ''])
}

/** `DP`: what data parallelism would have sent for the same tokens, as shared/diloco/traffic.ts counts it. */
export function row(round: RoundSummary, parameters: number): string {
  const times = timesLess(round, parameters)
  return line([
    String(round.round),
    String(round.replicas),
    round.tokens.toLocaleString('en'),
    round.trainLoss.toFixed(3),
    round.valLoss?.toFixed(3) ?? '–',
    round.bitsPerByte?.toFixed(3) ?? '–',
    round.seconds.toFixed(1),
    megabytes(round.bytesUp),
    megabytes(round.bytesDown),
    times === null ? '–' : `${times.toFixed(0)}×`,
  ])
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(2)} MB`
