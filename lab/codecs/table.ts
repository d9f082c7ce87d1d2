/** The report as tables for a terminal. */
import { percent, type Report, type Row } from './report.ts'

export function printReport({ rows, withoutMomentum, noise, start, conclusions }: Report): void {
  console.log(`Every run starts at ${start.mean.toFixed(4)} nats per token, on average over seeds.`)
  console.table(rows.map(lineOf))
  console.log('Outer step without momentum, rate 1; relative to f32 with momentum:')
  console.table(withoutMomentum.map(lineOf))
  console.log('Noise, f32 that starts one unit in the last place away:')
  console.table(noise.map(lineOf))
  for (const sentence of conclusions) console.log(sentence)
}

function lineOf({
  codec,
  decay,
  fragments,
  overlap,
  seeds,
  valLoss,
  relativeToF32,
  relativeCi,
  bytesUp,
  bytesDown,
}: Row) {
  return {
    codec,
    decay,
    P: fragments,
    overlap,
    seeds,
    valLoss: valLoss.toFixed(4),
    'against f32': percent(relativeToF32),
    '95 %': relativeCi === null ? '–' : relativeCi.map(percent).join(' … '),
    'MB up': (bytesUp / 1e6).toFixed(3),
    'MB down': (bytesDown / 1e6).toFixed(3),
  }
}
