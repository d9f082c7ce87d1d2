/**
 * `npm run bench -- matmul [--size 4096] [--tflops 20]`: one product of square matrices on this machine's GPU, in Node, in
 * every storage order and with every tile that the compiled engine chooses from, timed by the GPU itself; GFLOP/s, and
 * the share of the card's peak f32 TFLOP/s. With f16 where the device has it: those rows read A and B in 16 bits. On
 * SwiftShader, which is used where VK_ICD_FILENAMES names no driver, the default size is 512.
 */
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { compile } from '../../../shared/engine/compiled/executor.ts'
import type { Element } from '../../../shared/engine/compiled/kernel.ts'
import { matmul, type Order, type Tile } from '../../../shared/engine/compiled/kernels/matmul.ts'
import { makeList, scratch, tensor } from '../../../shared/engine/compiled/plan.ts'
import { candidatesOn } from '../../../shared/engine/compiled/tuned.ts'
import { type OpenDevice, openDevice } from '../../../shared/engine/gpuDevice.ts'
import { installDawn, NO_DAWN } from '../../../shared/engine/tfjs/dawn.ts'

const flagsSchema = z.strictObject({
  size: z.coerce.number().int().min(1).max(16_384).optional(),
  tflops: z.coerce.number().positive(),
})

const ORDERS = ['NN', 'NT', 'TN'] as const
const RUNS = 3

export async function measureMatmul(args: string[]) {
  const { values } = parseArgs({
    args,
    options: { size: { type: 'string' }, tflops: { type: 'string', default: '20' } },
  })
  const flags = flagsSchema.parse(values)
  if ((await installDawn()) === null) throw new Error(NO_DAWN)
  const open = await openDevice()
  const size = flags.size ?? (open.software ? 512 : 4_096)
  const rows: object[] = []
  for (const element of open.features.f16 ? (['f32', 'f16'] as const) : (['f32'] as const))
    for (const order of ORDERS)
      for (const tile of candidatesOn(open)) {
        const ms = await millisecondsOf(open, { order, size, element }, tile)
        const gflops = (2 * size ** 3) / 1e6 / ms
        rows.push({
          ...{ order, size, element, tile: nameOf(tile), ms: Number(ms.toFixed(3)) },
          gflops: Number(gflops.toFixed(1)),
          shareOfPeak: Number((gflops / 1e3 / flags.tflops).toFixed(4)),
        })
      }
  open.release()
  return { rows, gpu: [{ name: open.name, tflops: flags.tflops }] }
}

const nameOf = ({ way, rows, columns, across, down, depth }: Tile) =>
  `${way} ${rows}×${columns}, ${across}×${down} threads${way === 'shared' ? `, depth ${depth}` : ''}`

interface Square {
  readonly order: Order
  readonly size: number
  readonly element: Element
}

/** The fastest of a few. */
async function millisecondsOf(open: OpenDevice, { order, size: n, element }: Square, tile: Tile) {
  const list = makeList()
  const elements = { a: element, b: element }
  const product = matmul({ order, m: n, n, k: n, result: 'set', elements }, tile)
  const [a, b] = [scratch('a', n * n, element), scratch('b', n * n, element)]
  list.run('product', product, a, b, tensor('c', n * n))
  const executable = await compile(open, { cleared: [], pass: list.calls, update: [] }, new Map())
  try {
    await open.guard(executable.times)
    let best = Number.POSITIVE_INFINITY
    for (let run = 0; run < RUNS; run++) best = Math.min(best, ...(await open.guard(executable.times)))
    return best
  } finally {
    executable.dispose()
  }
}
