/**
 * The coordinator's merge at the size of `35m`: gigabytes of contributions a second, from files to durable blobs,
 * beside a plain copy of as many bytes in memory. The files lie in memory (/dev/shm) where there is such a folder,
 * because a disk's speed is not ours; `--folder=PATH` measures with a disk.
 */
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type Aggregator,
  type Folders,
  type FragmentBase,
  startAggregator,
} from '../../coordinator/aggregate/aggregator.ts'
import { PHASES, type Spent } from '../../coordinator/aggregate/stopwatch.ts'
import { openFileBlobStore } from '../../coordinator/store/fileBlobs.ts'
import { CODECS } from '../../shared/codec/codec.ts'
import { floatsToBytes } from '../../shared/codec/floats.ts'
import { PRESETS } from '../../shared/model/config.ts'
import { parameterCount } from '../../shared/model/layout.ts'
import { randomFrom } from '../../shared/model/random.ts'

const CONTRIBUTIONS = [4, 16, 64]
const MEASURED = 3
/** More bytes at a time than any cache holds. */
const COPY_BUFFERS = 8

interface Row {
  readonly codec: string
  readonly contributions: number
  readonly parameters: number
  /** How the inputs were recognised: by the seals of their check and of the merge before, or by SHA-256 throughout. */
  readonly inputs: 'seals' | 'sha256'
  readonly gigabytesPerSecond: number
  readonly copyGigabytesPerSecond: number
  readonly ratioToCopy: number
  readonly seconds: number
}

/**
 * Milliseconds of each kind of work, all threads together. `sumGigabytesPerSecond` is what dequantising and adding alone
 * would do, all threads together, and sumRatioToCopy its share of the copy's speed.
 */
type Where = Pick<Row, 'codec' | 'contributions' | 'inputs'> & {
  threads: number
  sumGigabytesPerSecond: number
  sumRatioToCopy: number
} & Spent

export async function measureAggregate(flags: string[]): Promise<{ rows: Row[]; where: Where[] }> {
  const parent = flags.find((flag) => flag.startsWith('--folder='))?.slice('--folder='.length)
  const folder = await mkdtemp(join(parent ?? (existsSync('/dev/shm') ? '/dev/shm' : tmpdir()), 'potluck-'))
  const rows: Row[] = []
  const where: Where[] = []
  try {
    for (const codec of ['int8', 'int4'] as const) {
      const folders = { blobs: join(folder, 'blobs'), vault: join(folder, 'vault') }
      const parameters = parameterCount(PRESETS['35m'])
      const hashes = await storeContributions(codec, parameters, folders.vault)
      const base = await firstBase(parameters, folders.blobs)
      for (const inputs of ['seals', 'sha256'] as const) {
        await measureMerges({ codec, inputs, folders, hashes, base }, rows, where)
      }
      await rm(folders.vault, { recursive: true })
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  return { rows, where }
}

interface Case {
  readonly codec: 'int8' | 'int4'
  readonly inputs: Row['inputs']
  readonly folders: Folders
  readonly hashes: readonly string[]
  readonly base: FragmentBase
}

async function measureMerges({ codec, inputs, folders, hashes, base }: Case, rows: Row[], where: Where[]) {
  const { parameters } = base
  let spent: readonly Spent[] = []
  const onSpent = (latest: readonly Spent[]) => {
    spent = latest
  }
  const aggregator = startAggregator(folders, { seals: inputs === 'seals', onSpent })
  const mergeOf = (from: FragmentBase, contributions: number) =>
    merge(aggregator, from, codec, hashes.slice(0, contributions))
  try {
    if (inputs === 'seals') {
      for (const hash of hashes) await aggregator.check({ hash, parameters, codec, bound: 1 })
    }
    const second = await mergeOf(base, 4) // warm, and a base with momentum
    for (const contributions of CONTRIBUTIONS) {
      const bytes = contributions * CODECS[codec].byteLength(parameters)
      const runs: { seconds: number; spent: readonly Spent[] }[] = []
      const copies: number[] = []
      for (let run = 0; run < MEASURED; run++) {
        copies.push(copySeconds(bytes, contributions))
        const start = performance.now()
        await mergeOf(second, contributions)
        runs.push({ seconds: (performance.now() - start) / 1000, spent })
      }
      const { seconds, spent: middle } = median(runs, (run) => run.seconds)
      const copy = median(copies, (one) => one)
      const row = { codec, contributions, parameters, inputs }
      rows.push({
        ...row,
        gigabytesPerSecond: round(bytes / 1e9 / seconds),
        copyGigabytesPerSecond: round(bytes / 1e9 / copy),
        ratioToCopy: round(copy / seconds),
        seconds: round(seconds),
      })
      where.push({ codec, contributions, inputs, ...whereOf(middle, bytes, copy) })
    }
  } finally {
    await aggregator.close()
  }
}

/** Different bytes each, all valid: the blocks of one, turned. */
async function storeContributions(codec: 'int8' | 'int4', parameters: number, folder: string) {
  const vault = await openFileBlobStore(folder)
  const { blockSize, byteLength, encode } = CODECS[codec]
  const bytes = encode(randomValues(parameters, 0.01))
  const turned = new Uint8Array(bytes.length)
  const hashes: string[] = []
  for (let n = 0; n < Math.max(...CONTRIBUTIONS); n++) {
    const cut = byteLength(blockSize) * n * 1000
    turned.set(bytes.subarray(cut))
    turned.set(bytes.subarray(0, cut), bytes.length - cut)
    hashes.push(await vault.put(turned))
  }
  return hashes
}

async function firstBase(parameters: number, folder: string): Promise<FragmentBase> {
  const blobs = await openFileBlobStore(folder)
  const weights = await blobs.put(floatsToBytes(randomValues(parameters, 0.04)))
  return { parameters, weights, exact: null, velocity: null, largest: 0.04 }
}

function randomValues(count: number, deviation: number): Float32Array {
  const uniform = randomFrom('aggregate')
  return Float32Array.from({ length: count }, () => deviation * (2 * uniform() - 1))
}

async function merge(
  aggregator: Aggregator,
  base: FragmentBase,
  codec: 'int8' | 'int4',
  hashes: readonly string[],
): Promise<FragmentBase> {
  const contributions = hashes.map((hash, n) => ({ lease: `lease-${n}`, hash, weight: 100_000 + n }))
  const step = { learningRate: 0.7, momentum: 0.9 }
  const merged = await aggregator.merge({ base, codec, downlink: codec, ...step, contributions })
  return merged.base
}

/** One thread, between buffers that have been touched before. */
function copySeconds(bytes: number, pieces: number): number {
  const piece = Math.ceil(bytes / pieces)
  const buffers = Array.from({ length: COPY_BUFFERS }, (_, n) => Buffer.alloc(piece, n + 1))
  const start = performance.now()
  for (let n = 0; n < pieces; n++) {
    const from = buffers[n % COPY_BUFFERS] as Buffer // there are that many, here and below
    from.copy(buffers[(n + COPY_BUFFERS / 2) % COPY_BUFFERS] as Buffer)
  }
  return (performance.now() - start) / 1000
}

function whereOf(spent: readonly Spent[], bytes: number, copySeconds: number) {
  const total = { ...(spent[0] as Spent) } // a merge has a thread
  for (const one of spent.slice(1)) for (const phase of PHASES) total[phase] += one[phase]
  for (const phase of PHASES) total[phase] = Math.round(total[phase])
  const threads = spent.length
  const seconds = total.sum / threads / 1000
  return {
    threads,
    sumGigabytesPerSecond: round(bytes / 1e9 / seconds),
    sumRatioToCopy: round(copySeconds / seconds),
    ...total,
  }
}

function median<T>(values: readonly T[], key: (value: T) => number): T {
  const sorted = values.toSorted((a, b) => key(a) - key(b))
  return sorted[Math.floor(sorted.length / 2)] as T // never empty
}

const round = (value: number): number => Math.round(value * 1000) / 1000
