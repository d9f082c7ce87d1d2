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
  type FragmentBase,
  startAggregator,
} from '../../coordinator/aggregate/aggregator.ts'
import type { Spent } from '../../coordinator/aggregate/stopwatch.ts'
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
  readonly gigabytesPerSecond: number
  readonly copyGigabytesPerSecond: number
  readonly ratioToCopy: number
  readonly seconds: number
}

/** Milliseconds of each kind of work, all threads together; `sumGigabytesPerSecond` is the kernel's own, a thread. */
type Where = { codec: string; contributions: number; threads: number; sumGigabytesPerSecond: number } & Spent

export async function measureAggregate(flags: string[]): Promise<{ rows: Row[]; where: Where[] }> {
  const parent = flags.find((flag) => flag.startsWith('--folder='))?.slice('--folder='.length)
  const folder = await mkdtemp(join(parent ?? (existsSync('/dev/shm') ? '/dev/shm' : tmpdir()), 'potluck-'))
  const rows: Row[] = []
  const where: Where[] = []
  try {
    for (const codec of ['int8', 'int4'] as const) await measureCodec(codec, folder, rows, where)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  return { rows, where }
}

async function measureCodec(codec: 'int8' | 'int4', folder: string, rows: Row[], where: Where[]) {
  const folders = { blobs: join(folder, codec, 'blobs'), vault: join(folder, codec, 'vault') }
  let spent: readonly Spent[] = []
  const onSpent = (latest: readonly Spent[]) => {
    spent = latest
  }
  const aggregator = startAggregator(folders, { onSpent })
  try {
    const parameters = parameterCount(PRESETS['35m'])
    const hashes = await storeContributions(codec, parameters, folders.vault)
    let base = await firstBase(parameters, folders.blobs)
    base = await merge(aggregator, base, codec, hashes.slice(0, 4)) // warm, and a base with momentum
    for (const contributions of CONTRIBUTIONS) {
      const bytes = contributions * CODECS[codec].byteLength(parameters)
      const runs: { seconds: number; spent: readonly Spent[] }[] = []
      const copies: number[] = []
      for (let run = 0; run < MEASURED; run++) {
        copies.push(copySeconds(bytes, contributions))
        const start = performance.now()
        await merge(aggregator, base, codec, hashes.slice(0, contributions))
        runs.push({ seconds: (performance.now() - start) / 1000, spent })
      }
      const middle = median(runs, ({ seconds }) => seconds)
      const copy = median(copies, (seconds) => seconds)
      const { seconds } = middle
      rows.push({
        codec,
        contributions,
        parameters,
        gigabytesPerSecond: round(bytes / 1e9 / seconds),
        copyGigabytesPerSecond: round(bytes / 1e9 / copy),
        ratioToCopy: round(copy / seconds),
        seconds: round(seconds),
      })
      where.push({ codec, contributions, ...whereOf(middle.spent, bytes) })
    }
  } finally {
    await aggregator.close()
    await rm(join(folder, codec), { recursive: true, force: true })
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
  const merged = await aggregator.mergeFragment({ base, codec, downlink: codec, ...step, contributions })
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

function whereOf(spent: readonly Spent[], bytes: number) {
  const total = (phase: keyof Spent) => Math.round(spent.reduce((sum, one) => sum + one[phase], 0))
  const { read, hash, sum, step, write, flush, wait } = Object.fromEntries(
    (['read', 'hash', 'sum', 'step', 'write', 'flush', 'wait'] as const).map((phase) => [
      phase,
      total(phase),
    ]),
  ) as unknown as Spent // every phase is listed
  const threads = spent.length
  return {
    threads,
    sumGigabytesPerSecond: round(bytes / 1e6 / sum),
    ...{ read, hash, sum, step, write, flush, wait },
  }
}

function median<T>(values: readonly T[], key: (value: T) => number): T {
  const sorted = values.toSorted((a, b) => key(a) - key(b))
  return sorted[Math.floor(sorted.length / 2)] as T // never empty
}

const round = (value: number): number => Math.round(value * 1000) / 1000
