/**
 * Chooses the tile of large products by a short measurement: every candidate multiplies the same two matrices a few times,
 * the fastest whose numbers are right wins. Once for each device, and only for models that have large products.
 */
import type { ModelConfig } from '../../model/config.ts'
import { CANDIDATES, type Choices, cpuChoices, gpuChoices, LARGE } from './choices.ts'
import type { OpenDevice } from './device.ts'
import { compile, readParts } from './executor.ts'
import { matmul, type Tile } from './kernels/matmul.ts'
import { makeList, tensor } from './plan.ts'

/** Large enough for a tile's edges not to count; a few milliseconds on a GPU, a tenth of a second on a software one. */
const SIZES = {
  software: { m: 256, n: 512, k: 256 },
  gpu: { m: 1_024, n: 2_048, k: 1_024 },
}
const RUNS = 3
/** Entries that are compared with the right ones: every place in a tile is among them several times. */
const CHECKED = 2_048

const tiles = new WeakMap<GPUDevice, Promise<Tile>>()

/** What is best for a model on a device. */
export async function choose(open: OpenDevice, config: ModelConfig): Promise<Choices> {
  const choicesOf = open.software ? cpuChoices : gpuChoices
  // Of the products, the logits' is the largest; a batch may have several sequences.
  const largest = 8 * config.sequenceLength * config.vocabSize * config.dModel
  if (largest < LARGE) return choicesOf()
  const known = tiles.get(open.device) ?? open.guard(() => fastest(open))
  tiles.set(open.device, known)
  return choicesOf(await known)
}

async function fastest(open: OpenDevice): Promise<Tile> {
  const kind = open.software ? 'software' : 'gpu'
  let best: { tile: Tile; milliseconds: number } | null = null
  for (const tile of CANDIDATES[kind]) {
    const milliseconds = await measure(open, tile, SIZES[kind])
    if (milliseconds < (best?.milliseconds ?? Number.POSITIVE_INFINITY)) best = { tile, milliseconds }
  }
  return best?.tile ?? CANDIDATES[kind][0] // if all are wrong, the self-test or the first loss says so
}

/** The fastest of a few runs; infinity when the numbers are wrong, or the device cannot run it. */
async function measure(
  open: OpenDevice,
  tile: Tile,
  { m, n, k }: { m: number; n: number; k: number },
): Promise<number> {
  const [a, b, c] = [tensor('a', m * k), tensor('b', k * n), tensor('c', m * n)]
  const list = makeList()
  list.run('product', matmul({ order: 'NN', m, n, k, result: 'set' }, tile), a, b, c)
  const executable = await compile(open, { cleared: [], pass: list.calls, update: [] }, new Map()).catch(
    () => null,
  )
  if (executable === null) return Number.POSITIVE_INFINITY
  const { queue } = open.device
  try {
    queue.writeBuffer(executable.bufferOf(a), 0, pattern(a.size, 7))
    queue.writeBuffer(executable.bufferOf(b), 0, pattern(b.size, 5))
    let best = Number.POSITIVE_INFINITY
    for (let run = 0; run <= RUNS; run++) {
      const from = performance.now()
      executable.pass()
      await queue.onSubmittedWorkDone()
      if (run > 0) best = Math.min(best, performance.now() - from) // the first one warms up
    }
    const got = await readParts(open, [{ buffer: executable.bufferOf(c), offset: 0, size: m * n }])
    return isRight(got, n, k) ? best : Number.POSITIVE_INFINITY
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
