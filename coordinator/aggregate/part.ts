/**
 * One thread's part of a merge. All threads of a merge run this same program over the same slices in shared memory,
 * and meet at a barrier: each file is read or written, and hashed, by one of them from its first byte to its last; of
 * each slice every thread computes a range of its own. Which thread did what changes no bit of the result.
 *
 * It writes temporary files only. merge.ts starts the parts and publishes what they made.
 */
import { CODECS, type CodecName } from '../../shared/codec/codec.ts'
import { CodecError } from '../../shared/codec/errors.ts'
import { PotluckError } from '../../shared/protocol/errors.ts'
import { type Arithmetic, arithmeticFor } from './arithmetic.ts'
import { Barrier } from './barrier.ts'
import { BlobReader, BlobWriter, type Desk, damagedBlob, type Made, type Source } from './files.ts'
import { loadKernels } from './kernels.ts'
import { dataStride, GROUP, type GroupLayout, type Layout, layoutOf, SLICE } from './memory.ts'
import { SEAL_BYTES, type Sealer, type SealKernel } from './sealKernel.ts'
import { type Spent, Stopwatch } from './stopwatch.ts'

export const OUTPUTS = ['weights', 'exact', 'velocity', 'delta'] as const
export type Output = (typeof OUTPUTS)[number]

export interface PartJob {
  readonly rank: number
  readonly threads: number
  readonly memory: WebAssembly.Memory
  readonly barrier: SharedArrayBuffer
  readonly parameters: number
  readonly codec: CodecName
  readonly downlink: CodecName
  readonly learningRate: number
  readonly momentum: number
  readonly weights: Source
  readonly exact: Source | null
  readonly velocity: Source | null
  readonly contributions: readonly (Source & { readonly weight: number })[]
  /** Temporary files to make. */
  readonly outputs: Readonly<Record<Output, string>>
  /** False: plain TypeScript does the sums, to the same bits. */
  readonly kernel: boolean
}

export interface PartResult {
  /** Of the files that this thread wrote. */
  readonly made: readonly (Made & { readonly output: Output })[]
  /** Largest magnitude among the new weights that this thread computed. */
  readonly largest: number
  readonly spent: Spent
}

/** Values in the smallest range that a thread takes of a slice: whole blocks of every codec. */
const GRAIN = 4096

/** @throws PotluckError `not-found`, `bad-blob`, `bad-state`; Abandoned when another thread threw one of these. */
export async function runPart(job: PartJob): Promise<PartResult> {
  const barrier = new Barrier(job.barrier, job.threads)
  const watch = new Stopwatch()
  const opened: (BlobReader | BlobWriter)[] = []
  try {
    const kernels = job.kernel ? await loadKernels(job.memory) : null
    const desk = { watch, sealer: kernels && sealerFor(job, kernels.seal) }
    const files = openFiles(job, desk, opened)
    const arithmetic = arithmeticFor({ ...job, hasExact: job.exact !== null }, kernels)
    const largest = mergeSlices(job, files, arithmetic, barrier, watch)
    for (const file of opened) if (file instanceof BlobReader) file.verify()
    const made = files.outputs.map(({ output, writer }) => ({ output, ...writer.finish() }))
    return { made, largest, spent: watch.spent }
  } catch (error) {
    barrier.fail()
    throw error
  } finally {
    for (const file of opened) file.close()
  }
}

function sealerFor({ codec, downlink, memory, rank }: PartJob, seal: SealKernel): Sealer {
  return { seal, memory, state: layoutOf(codec, downlink).seals + rank * SEAL_BYTES }
}

/** What a byte costs that is sealed instead of hashed. */
const SEALED = 0.2

/** [A4] Every file belongs to one thread: the one that has the least to do so far. */
function assignment({ threads, codec, weights, exact, velocity, contributions }: PartJob) {
  const loads = Array.from({ length: threads }, () => 0)
  const take = (bytes: number) => {
    const rank = loads.indexOf(Math.min(...loads))
    loads[rank] = (loads[rank] as number) + bytes // rank < threads
    return rank
  }
  const cost = (source: Source | null, bytes: number) => (source?.seal ? SEALED : 1) * bytes
  const bytes = CODECS[codec].byteLength(SLICE)
  return {
    outputs: OUTPUTS.map((output) => ({ output, rank: take(output === 'delta' ? SLICE : 4 * SLICE) })),
    base: [weights, exact, velocity].map((source) => take(cost(source, 4 * SLICE))),
    contributions: contributions.map((source) => take(cost(source, bytes))),
  }
}

/** This thread's own. */
interface Files {
  readonly weights: BlobReader | null
  readonly exact: BlobReader | null
  readonly velocity: BlobReader | null
  /** By index of the contribution. */
  readonly contributions: ReadonlyMap<number, BlobReader>
  readonly outputs: readonly { readonly output: Output; readonly writer: BlobWriter }[]
}

/** Opens this thread's files, and lists them in `opened` as it goes. */
function openFiles(job: PartJob, desk: Desk, opened: (BlobReader | BlobWriter)[]): Files {
  const { outputs, base, contributions } = assignment(job)
  const reader = (rank: number | undefined, source: Source | null, bytes: number) => {
    if (rank !== job.rank || source === null) return null
    const one = new BlobReader(source, desk)
    opened.push(one)
    if (one.bytes !== bytes) throw damagedBlob(source.hash)
    return one
  }
  const writer = (output: Output) => {
    const one = new BlobWriter(job.outputs[output], desk)
    opened.push(one)
    return { output, writer: one }
  }
  const floats = 4 * job.parameters
  const length = CODECS[job.codec].byteLength(job.parameters)
  const own = job.contributions.map((source, i) => [i, reader(contributions[i], source, length)] as const)
  return {
    weights: reader(base[0], job.weights, floats),
    exact: reader(base[1], job.exact, floats),
    velocity: reader(base[2], job.velocity, floats),
    contributions: new Map(own.filter((one): one is [number, BlobReader] => one[1] !== null)),
    outputs: outputs.filter(({ rank }) => rank === job.rank).map(({ output }) => writer(output)),
  }
}

/** [A3] Slice by slice. Returns the largest magnitude among the new weights of this thread's ranges. */
function mergeSlices(
  job: PartJob,
  files: Files,
  arithmetic: Arithmetic,
  barrier: Barrier,
  watch: Stopwatch,
): number {
  const layout = layoutOf(job.codec, job.downlink)
  const meet = () => watch.time('wait', () => barrier.wait())
  let largest = 0
  let turn = 0
  for (let first = 0; first < job.parameters; first += SLICE) {
    const values = Math.min(SLICE, job.parameters - first)
    const [start, end] = rangeOf(job, values)
    readBase(job, files, layout, values)
    new Float64Array(job.memory.buffer, layout.sum, SLICE).fill(0, start, end)
    for (let from = 0; from < job.contributions.length; from += GROUP, turn++) {
      const group = layout.groups[turn % 2] as GroupLayout // there are two
      readGroup(job, files, group, arithmetic, from, values)
      // Behind this barrier nobody is still adding the group before, whose buffers the next reading fills.
      meet()
      const weights = job.contributions.slice(from, from + GROUP).map(({ weight }) => weight)
      if (end > start) watch.time('sum', () => arithmetic.add(group, weights, start, end))
    }
    if (end > start) {
      largest = Math.max(
        largest,
        watch.time('step', () => step(job, arithmetic, layout, start, end)),
      )
    }
    meet()
    writeOutputs(job, files, layout, values)
  }
  return largest
}

/** This thread's values of a slice. */
function rangeOf({ rank, threads }: PartJob, values: number): [number, number] {
  const grains = Math.ceil(values / GRAIN)
  const bound = (n: number) => Math.min(values, Math.floor((grains * n) / threads) * GRAIN)
  return [bound(rank), bound(rank + 1)]
}

function readBase({ memory }: PartJob, files: Files, layout: Layout, values: number): void {
  for (const name of ['weights', 'exact', 'velocity'] as const) {
    files[name]?.fill(new Uint8Array(memory.buffer, layout[name], 4 * values))
  }
}

function readGroup(
  { memory, codec }: PartJob,
  { contributions }: Files,
  group: GroupLayout,
  arithmetic: Arithmetic,
  from: number,
  values: number,
): void {
  const bytes = CODECS[codec].byteLength(values)
  for (let index = 0; index < GROUP; index++) {
    const reader = contributions.get(from + index)
    if (reader === undefined) continue
    reader.fill(new Uint8Array(memory.buffer, group.data + index * dataStride(codec), bytes))
    arithmetic.prepare(group, index, values)
  }
}

/** [A2] [A5] The outer step from value `start` to `end`, and what volunteers will add. */
function step(job: PartJob, arithmetic: Arithmetic, layout: Layout, start: number, end: number): number {
  const memory = job.memory.buffer
  const total = job.contributions.reduce((sum, { weight }) => sum + weight, 0)
  arithmetic.step(total, start, end)
  const difference = new Float32Array(memory, layout.difference + 4 * start, end - start)
  const bytes = encoded(job.downlink, difference)
  const { byteLength, decodeInto } = CODECS[job.downlink]
  new Uint8Array(memory, layout.delta + byteLength(start), bytes.length).set(bytes)
  decodeInto(bytes, difference)
  return arithmetic.apply(start, end)
}

function encoded(codec: CodecName, delta: Float32Array): Uint8Array {
  try {
    return CODECS[codec].encode(delta)
  } catch (error) {
    if (!(error instanceof CodecError)) throw error
    throw new PotluckError(
      'bad-state',
      `The outer step cannot be published as ${codec}: ${error.message} Training has diverged; lower the learning rates.`,
      500,
    )
  }
}

function writeOutputs({ memory, downlink }: PartJob, files: Files, layout: Layout, values: number): void {
  for (const { output, writer } of files.outputs) {
    const [address, bytes] = {
      weights: [layout.newWeights, 4 * values],
      exact: [layout.newExact, 4 * values],
      velocity: [layout.newVelocity, 4 * values],
      delta: [layout.delta, CODECS[downlink].byteLength(values)],
    }[output] as [number, number]
    writer.append(new Uint8Array(memory.buffer, address, bytes))
  }
}
