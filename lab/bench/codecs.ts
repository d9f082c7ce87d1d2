/**
 * Every codec alone: how fast it encodes and decodes, in MB of f32 values a second, and what it loses, over normally
 * distributed values, as pseudo-gradients nearly are. Beside them a plain copy of as many values in the same run.
 */
import { CODEC_NAMES, CODECS, type Codec } from '../../shared/codec/codec.ts'
import { randomFrom } from '../../shared/model/random.ts'

const PARAMETERS = 4_000_000
const MEGABYTES = (4 * PARAMETERS) / 1e6
const REPETITIONS = 5

interface Row {
  readonly codec: string
  readonly bytesPerParameter: number
  readonly encodeMBps: number
  readonly decodeMBps: number
  /** √(Σ(decoded − value)² / Σ value²) */
  readonly relativeError: number
}

export async function measureCodecs(): Promise<{ rows: Row[]; copyMBps: number }> {
  const values = normalValues(PARAMETERS)
  const decoded = new Float32Array(PARAMETERS)
  const copy = measure([() => decoded.set(values)])
  const rows = CODEC_NAMES.map((name) => rowOf(CODECS[name], values, decoded))
  return { rows, copyMBps: copy[0] as number } // one job, one speed
}

function rowOf(codec: Codec, values: Float32Array, decoded: Float32Array): Row {
  let bytes = codec.encode(values)
  const encode = () => {
    bytes = codec.encode(values)
  }
  const decode = () => codec.decodeInto(bytes, decoded)
  const [encodeMBps, decodeMBps] = measure([encode, decode]) as [number, number] // two jobs, two speeds
  return {
    codec: codec.name,
    bytesPerParameter: round(bytes.length / PARAMETERS, 4),
    encodeMBps,
    decodeMBps,
    relativeError: Number(relativeError(values, decoded).toPrecision(3)),
  }
}

/** MB a second of each job: once to warm it, then the median of five, the jobs in turn. */
function measure(jobs: (() => void)[]): number[] {
  const seconds: number[][] = jobs.map(() => [])
  for (let repetition = -1; repetition < REPETITIONS; repetition++) {
    jobs.forEach((job, n) => {
      const start = performance.now()
      job()
      if (repetition >= 0) seconds[n]?.push((performance.now() - start) / 1000)
    })
  }
  return seconds.map((times) => round(MEGABYTES / median(times), 0))
}

function relativeError(values: Float32Array, decoded: Float32Array): number {
  let error = 0
  let size = 0
  values.forEach((value, i) => {
    error += ((decoded[i] as number) - value) ** 2 // as long as values
    size += value ** 2
  })
  return Math.sqrt(error / size)
}

/** Standard deviation 0.01, by Box and Muller. */
function normalValues(length: number): Float32Array {
  const uniform = randomFrom('codecs')
  return Float32Array.from(
    { length },
    () => 0.01 * Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
  )
}

const median = (times: number[]) => [...times].sort((a, b) => a - b)[times.length >> 1] as number // five
const round = (value: number, digits: number) => Number(value.toFixed(digits))
