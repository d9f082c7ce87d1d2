/**
 * The arithmetic of a merge over a range of the slice in shared memory: as the functions of shared/ say it, and by
 * kernels to the same bits. Knows no files and no threads.
 */
import { CODECS, type CodecName } from '../../shared/codec/codec.ts'
import { applyDelta } from '../../shared/diloco/delta.ts'
import { accumulate, applyOuterStep, type OuterStep, pseudoGradient } from '../../shared/diloco/outer.ts'
import { type Accumulate, KERNEL_BLOCK, KERNELS, type KernelCodec, scaleTable } from './accumulateKernel.ts'
import type { Kernels } from './kernels.ts'
import { largestMagnitude } from './largest.ts'
import { dataStride, GROUP, type GroupLayout, type Layout, layoutOf, SCALE_STRIDE } from './memory.ts'
import { FOUR } from './stepKernel.ts'

/** The arithmetic, by kernels or without them, over the values from `start` to `end` of the slice in memory. */
export interface Arithmetic {
  /** By the thread that has read it: makes the slice of the group's contribution `index`, `values` long, ready to add. */
  readonly prepare: (group: GroupLayout, index: number, values: number) => void
  /** Adds the group's contributions, one after another, to the sums. */
  readonly add: (group: GroupLayout, weights: readonly number[], start: number, end: number) => void
  /** From the sums and the old to newExact, newVelocity and difference. */
  readonly step: (total: number, start: number, end: number) => void
  /** From the difference to newWeights; their largest magnitude. */
  readonly apply: (start: number, end: number) => number
}

/** What the arithmetic has to know of a merge. */
export interface ArithmeticJob extends OuterStep {
  readonly memory: WebAssembly.Memory
  readonly codec: CodecName
  readonly downlink: CodecName
  /** False: θ is θ̂. */
  readonly hasExact: boolean
}

export function arithmeticFor(job: ArithmeticJob, kernels: Kernels | null): Arithmetic {
  const { codec, memory } = job
  const layout = layoutOf(codec, job.downlink)
  const plain = plainArithmetic(job, layout)
  if (kernels === null) return plain
  const steps = kernelSteps(job, layout, kernels, plain)
  if (!isKernelCodec(codec)) return { ...plain, ...steps }
  return { ...kernelSums(codec, kernels[codec], memory.buffer, layout), ...steps }
}

const isKernelCodec = (codec: CodecName): codec is KernelCodec => Object.hasOwn(KERNELS, codec)

/** [A2] The definition. */
function plainArithmetic(job: ArithmeticJob, layout: Layout): Arithmetic {
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
const oldExact = (job: ArithmeticJob, layout: Layout) => (job.hasExact ? layout.exact : layout.weights)

/** The same bits from the kernels; what is left of the last four is the plain functions'. */
function kernelSteps(
  job: ArithmeticJob,
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
