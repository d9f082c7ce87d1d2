/**
 * Chooses the tile of large products by a short measurement: every candidate multiplies the same two matrices a few times,
 * the fastest whose numbers are right wins, and its speed tells how long other dispatches will take. Once for each device,
 * and only for models that have large products; what was found on an earlier visit saves the measurement (tuned.ts).
 */
import type { ModelConfig } from '../../model/config.ts'
import type { OpenDevice } from '../gpuDevice.ts'
import { type Choices, cpuChoices, gpuChoices, LARGE } from './choices.ts'
import { compile, readParts } from './executor.ts'
import type { Kernel } from './kernel.ts'
import { matmul, type Tile } from './kernels/matmul.ts'
import { swiglu } from './kernels/swiglu.ts'
import { type Speed, UNMEASURED } from './longDispatches.ts'
import { makeList, type Tensor, tensor } from './plan.ts'
import { candidatesOn, readTuned, type Tuned, tunedText } from './tuned.ts'

/** Large enough for a tile's edges not to count; a few milliseconds on a GPU, a tenth of a second on a software one. */
const SIZES = {
  software: { m: 256, n: 512, k: 256, streamed: 2 ** 18 },
  gpu: { m: 1_024, n: 2_048, k: 1_024, streamed: 2 ** 22 },
}
const RUNS = 3
/** Entries that are compared with the right ones: every place in a tile is among them several times. */
const CHECKED = 2_048

const measured = new WeakMap<GPUDevice, Promise<Tuned>>()

/** What is remembered of earlier visits, and who remembers. */
export interface Memento {
  /** What `onTuned` was told on an earlier visit; what is damaged or of another device is not used. */
  readonly tuned?: string | null
  /** Told of a new measurement. */
  readonly onTuned?: (text: string) => void
}

export interface Chosen {
  readonly choices: Choices
  readonly speed: Speed
}

/** What is best for a model on a device. */
export async function choose(open: OpenDevice, config: ModelConfig, memento: Memento = {}): Promise<Chosen> {
  const choicesOf = open.software ? cpuChoices : gpuChoices
  // Of the products, the logits' is the largest; a batch may have several sequences.
  const largest = 8 * config.sequenceLength * config.vocabSize * config.dModel
  if (largest < LARGE) return { choices: choicesOf(), speed: UNMEASURED }
  const { tile, speed } = await tunedOf(open, memento)
  return { choices: choicesOf(tile), speed }
}

async function tunedOf(open: OpenDevice, { tuned, onTuned }: Memento): Promise<Tuned> {
  const known = measured.get(open.device)
  if (known !== undefined) return known
  const remembered = tuned ? readTuned(tuned, open) : null
  const found = remembered ? Promise.resolve(remembered) : open.guard(() => measure(open))
  measured.set(open.device, found)
  if (!remembered) onTuned?.(tunedText(open, await found))
  return found
}

async function measure(open: OpenDevice): Promise<Tuned> {
  const { m, n, k, streamed } = SIZES[open.software ? 'software' : 'gpu']
  const candidates = candidatesOn(open)
  let [best, seconds] = [candidates[0] as Tile, Number.POSITIVE_INFINITY] // there is one
  for (const tile of candidates) {
    const taken = await secondsOfProduct(open, tile, { m, n, k })
    if (taken < seconds) [best, seconds] = [tile, taken]
  }
  const bytes = 4 * 3 * streamed // two read, one written
  const bandwidth = bytes / (await secondsOfStream(open, streamed))
  // If all are wrong, the self-test or the first loss says so.
  const flops = Number.isFinite(seconds) ? (2 * m * n * k) / seconds : UNMEASURED.flops
  return { tile: best, speed: { flops, bandwidth } }
}

/** Infinity also when the device cannot run it. */
async function secondsOfProduct(open: OpenDevice, tile: Tile, { m, n, k }: Record<'m' | 'n' | 'k', number>) {
  const [a, b, c] = [tensor('a', m * k), tensor('b', k * n), tensor('c', m * n)]
  const kernel = matmul({ order: 'NN', m, n, k, result: 'set' }, tile)
  const given = new Map([
    [a, pattern(a.size, 7)],
    [b, pattern(b.size, 5)],
  ])
  const right = (got: Float32Array) => isRight(got, n, k)
  return secondsOf(open, kernel, [a, b, c], given, right).catch(() => Number.POSITIVE_INFINITY)
}

function secondsOfStream(open: OpenDevice, count: number): Promise<number> {
  const [gateUp, mixed] = [tensor('gate, up', 2 * count), tensor('mixed', count)]
  return secondsOf(open, swiglu(count, count), [gateUp, mixed], new Map())
}

/** The fastest of a few runs; infinity when the last tensor's values are not right. */
async function secondsOf(
  open: OpenDevice,
  kernel: Kernel,
  tensors: readonly Tensor[],
  given: ReadonlyMap<Tensor, Float32Array<ArrayBuffer>>,
  right?: (got: Float32Array) => boolean,
): Promise<number> {
  const list = makeList()
  list.run('measured', kernel, ...tensors)
  const executable = await compile(open, { cleared: [], pass: list.calls, update: [] }, new Map())
  const { queue } = open.device
  try {
    for (const [tensor, values] of given) queue.writeBuffer(executable.bufferOf(tensor), 0, values)
    let best = Number.POSITIVE_INFINITY
    for (let run = 0; run <= RUNS; run++) {
      const from = performance.now()
      executable.pass()
      await queue.onSubmittedWorkDone()
      if (run > 0) best = Math.min(best, performance.now() - from) // the first one warms up
    }
    if (right === undefined) return best / 1_000
    const last = tensors[tensors.length - 1] as Tensor // a kernel has some
    const result = { buffer: executable.bufferOf(last), offset: 0, size: last.size }
    return right(await readParts(open, [result])) ? best / 1_000 : Number.POSITIVE_INFINITY
  } finally {
    executable.dispose()
  }
}

/** Whole numbers between −half and half: their sums are exact in f32. */
function pattern(size: number, modulus: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: size }, (_, i) => element(i, modulus))
}

const element = (i: number, modulus: number) => (((i * 31) >> 3) % modulus) - (modulus >> 1)

function isRight(got: Float32Array, n: number, k: number): boolean {
  for (let check = 0; check < CHECKED; check++) {
    const at = got.length - 1 - ((check * 7_919) % got.length) // a prime step, from the last one on
    const [row, column] = [Math.floor(at / n), at % n]
    let sum = 0
    for (let depth = 0; depth < k; depth++)
      sum += element(row * k + depth, 7) * element(depth * n + column, 5)
    if (got[at] !== sum) return false
  }
  return true
}
