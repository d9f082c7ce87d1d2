/**
 * One thread's part of a merge. All threads of a merge run this same program over the same slices in shared memory,
 * and meet at a barrier: each file is read or written, and hashed, by one of them from its first byte to its last; of
 * each slice every thread computes a range of its own. Which thread did what changes no bit of the result.
 *
 * It writes temporary files only. merge.ts starts the parts and publishes what they made.
 */
import { CODECS, type CodecName } from '../../shared/codec/codec.ts'
import { CodecError } from '../../shared/codec/errors.ts'
import { applyDelta } from '../../shared/diloco/delta.ts'
import { accumulate, applyOuterStep, pseudoGradient } from '../../shared/diloco/outer.ts'
import { PotluckError } from '../../shared/protocol/errors.ts'
import { type Accumulate, KERNEL_BLOCK, KERNELS, type KernelCodec, scaleTable } from './accumulateKernel.ts'
import { Barrier } from './barrier.ts'
import { BlobReader, BlobWriter, damagedBlob } from './files.ts'
import { type Kernels, loadKernels } from './kernels.ts'
import { dataStride, GROUP, type GroupLayout, type Layout, layoutOf, SCALE_STRIDE, SLICE } from './memory.ts'
import { FOUR } from './stepKernel.ts'
import { type Spent, Stopwatch } from './stopwatch.ts'
import { largestMagnitude } from './work.ts'

/** A blob to read. */
interface Source {
  readonly path: string
  readonly hash: string
}

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
  readonly made: readonly { readonly output: Output; readonly hash: string; readonly bytes: number }[]
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
    const arithmetic = await arithmeticFor(job)
    const files = openFiles(job, watch, opened)
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

/** [A4] Every file belongs to one thread: the one that has the fewest bytes so far. */
function assignment({ threads, codec, contributions }: PartJob) {
  const loads = Array.from({ length: threads }, () => 0)
  const take = (bytes: number) => {
    const rank = loads.indexOf(Math.min(...loads))
    loads[rank] = (loads[rank] as number) + bytes // rank < threads
    return rank
  }
  const bytes = CODECS[codec].byteLength(SLICE)
  return {
    outputs: OUTPUTS.map((output) => ({ output, rank: take(output === 'delta' ? SLICE : 4 * SLICE) })),
    base: [take(4 * SLICE), take(4 * SLICE), take(4 * SLICE)] as const,
    contributions: contributions.map(() => take(bytes)),
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
function openFiles(job: PartJob, watch: Stopwatch, opened: (BlobReader | BlobWriter)[]): Files {
  const { outputs, base, contributions } = assignment(job)
  const reader = (rank: number | undefined, source: Source | null, bytes: number) => {
    if (rank !== job.rank || source === null) return null
    const one = new BlobReader(source.path, source.hash, watch)
    opened.push(one)
    if (one.bytes !== bytes) throw damagedBlob(source.hash)
    return one
  }
  const writer = (output: Output) => {
    const one = new BlobWriter(job.outputs[output], watch)
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

/** The arithmetic, by kernels or without them, over the values from `start` to `end` of the slice in memory. */
interface Arithmetic {
  /** By the thread that has read it: makes the slice of the group's contribution `index`, `values` long, ready to add. */
  readonly prepare: (group: GroupLayout, index: number, values: number) => void
  /** Adds the group's contributions, one after another, to the sums. */
  readonly add: (group: GroupLayout, weights: readonly number[], start: number, end: number) => void
  /** From the sums and the old to newExact, newVelocity and difference. */
  readonly step: (total: number, start: number, end: number) => void
  /** From the difference to newWeights; their largest magnitude. */
  readonly apply: (start: number, end: number) => number
}

async function arithmeticFor(job: PartJob): Promise<Arithmetic> {
  const { codec, memory } = job
  const layout = layoutOf(codec, job.downlink)
  const plain = plainArithmetic(job, layout)
  const kernels = job.kernel ? await loadKernels(memory) : null
  if (kernels === null) return plain
  const steps = kernelSteps(job, layout, kernels, plain)
  if (!isKernelCodec(codec)) return { ...plain, ...steps }
  return { ...kernelSums(codec, kernels[codec], memory.buffer, layout), ...steps }
}

const isKernelCodec = (codec: CodecName): codec is KernelCodec => Object.hasOwn(KERNELS, codec)

/** [A2] The definition. */
function plainArithmetic(job: PartJob, layout: Layout): Arithmetic {
  const memory = job.memory.buffer
  const { byteLength, decodeInto } = CODECS[job.codec]
  const floats = (address: number, start: number, end: number) =>
    new Float32Array(memory, address + 4 * start, end - start)
  const sums = (start: number, end: number) => new Float64Array(memory, layout.sum + 8 * start, end - start)
  return {
    prepare: () => undefined,
    add: ({ data }, weights, start, end) => {
      const values = new Float32Array(end - start)
      const first = byteLength(start)
      weights.forEach((weight, index) => {
        const address = data + index * dataStride(job.codec) + first
        decodeInto(new Uint8Array(memory, address, byteLength(end) - first), values)
        accumulate(sums(start, end), values, weight)
      })
    },
    step: (total, start, end) => {
      const exact = floats(layout.newExact, start, end)
      const velocity = floats(layout.newVelocity, start, end)
      exact.set(floats(oldExact(job, layout), start, end))
      velocity.set(floats(layout.velocity, start, end))
      applyOuterStep(exact, velocity, sums(start, end), total, job)
      const weights = floats(layout.weights, start, end)
      floats(layout.difference, start, end).set(pseudoGradient(exact, weights)) // θ − θ̂
    },
    apply: (start, end) => {
      const weights = floats(layout.newWeights, start, end)
      weights.set(floats(layout.weights, start, end))
      applyDelta(weights, floats(layout.difference, start, end))
      return largestMagnitude(weights)
    },
  }
}

/** Where θ lies; velocity's zeros, when there is none yet, are those of fresh memory. */
const oldExact = (job: PartJob, layout: Layout) => (job.exact === null ? layout.weights : layout.exact)

/** The same bits from the kernels; what is left of the last four is the plain functions'. */
function kernelSteps(
  job: PartJob,
  layout: Layout,
  { step, apply }: Kernels,
  plain: Arithmetic,
): Pick<Arithmetic, 'step' | 'apply'> {
  return {
    step: (total, start, end) => {
      const fours = Math.floor((end - start) / FOUR)
      const at = (address: number) => address + 4 * start
      step(
        layout.sum + 8 * start,
        at(oldExact(job, layout)),
        at(layout.velocity),
        at(layout.weights),
        at(layout.newExact),
        at(layout.newVelocity),
        at(layout.difference),
        fours,
        total,
        job.learningRate,
        job.momentum,
      )
      plain.step(total, start + fours * FOUR, end)
    },
    apply: (start, end) => {
      const fours = Math.floor((end - start) / FOUR)
      const at = (address: number) => address + 4 * start
      const largest = apply(at(layout.weights), at(layout.difference), at(layout.newWeights), fours)
      return Math.max(largest, plain.apply(start + fours * FOUR, end))
    },
  }
}

/** The same bits from the kernel. The last block may be short: the kernel then adds what nobody reads. */
function kernelSums(
  codec: KernelCodec,
  kernel: Accumulate,
  memory: ArrayBufferLike,
  layout: Layout,
): Pick<Arithmetic, 'prepare' | 'add'> {
  const { blockBytes } = KERNELS[codec]
  const stride = dataStride(codec)
  const table = scaleTable(codec)
  return {
    prepare: ({ data, scales }, index, values) => {
      const halves = new Uint16Array(memory, data + index * stride, stride / 2)
      const out = new Float32Array(memory, scales + index * SCALE_STRIDE, SCALE_STRIDE / 4)
      const blocks = Math.ceil(values / KERNEL_BLOCK)
      for (let block = 0; block < blocks; block++) {
        const half = halves[(block * blockBytes) / 2] as number // within the slice's bytes
        out[2 * block] = table[2 * half] as number // the table has all 65,536
        out[2 * block + 1] = table[2 * half + 1] as number
      }
    },
    add: (group, weights, start, end) => {
      const first = start / KERNEL_BLOCK
      const blocks = Math.ceil(end / KERNEL_BLOCK) - first
      const data = group.data + first * blockBytes
      const scales = group.scales + first * 8
      // Every thread writes the same weights here.
      new Float64Array(memory, group.weights, GROUP).set(weights)
      const count = weights.length
      kernel(layout.sum + 8 * start, blocks, count, data, stride, scales, SCALE_STRIDE, group.weights)
    },
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
