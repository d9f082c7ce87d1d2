/** The compiled engine and its parts, as ../numerics.ts tests them. */

import { type OpenDevice, openDevice } from '../gpuDevice.ts'
import { F16_TOLERANCE, type Subject } from '../numerics.ts'
import type { Matrix } from '../referenceMatrix.ts'
import { type Choices, cpuChoices } from './choices.ts'
import { createCompiledEngine } from './createCompiledEngine.ts'
import { nextLogits } from './infer.ts'
import { attention, attentionBackwardKeys, attentionBackwardQueries } from './kernels/attention.ts'
import { crossEntropy, pairsOf, partialSums, STEP_NUMBERS_SIZE, stepNumbers } from './kernels/crossEntropy.ts'
import { matmul, type Product } from './kernels/matmul.ts'
import { sumLosses } from './kernels/update.ts'
import { makeList, scratch, tensor } from './plan.ts'
import { makePlans } from './plans.ts'
import { disposeReplica, makeReplica, wholeOf, write } from './replica.ts'
import { runOnce } from './runOnce.ts'

const single = ({ values }: Matrix) => Float32Array.from(values)

export function compiledSubject(choices: Choices = cpuChoices(), recomputes = false): Subject {
  return {
    open: (config) => createCompiledEngine({ config, choices, recomputes }),
    ...(choices.states !== 'f32' && { tolerance: F16_TOLERANCE }),

    /** The engine makes those of one position only: asked for position after position. */
    logits: (config, parameters, ids) =>
      withDevice(async (open) => {
        const replica = makeReplica(config, open, choices)
        const plans = makePlans(replica, {})
        write(replica, replica.state.parameters, parameters, wholeOf(config))
        const ready = await plans.next()
        const rows: number[] = []
        for (let n = 0; n < ids.length; n++) {
          const start = n - (n % config.sequenceLength)
          rows.push(...(await nextLogits(replica, ready, ids.slice(start, n + 1))))
        }
        plans.dispose()
        disposeReplica(replica)
        return Float32Array.from(rows)
      }),

    attention: ({ heads, length, dim, q, k, v, dMerged }) =>
      withDevice((open) => {
        const size = heads * length * dim
        const shape = {
          sequences: heads,
          length,
          heads: 1,
          headDim: dim,
          element: choices.states,
          ...choices.attention,
        }
        const of = (name: string) => tensor(name, size)
        const given = [of('q'), of('k'), of('v'), of('dMerged')] as const
        const made = { merged: of('merged'), dq: of('dq'), dk: of('dk'), dv: of('dv') }
        const [sums, along] = [scratch('log sums', heads * length), scratch('along', heads * length)]
        const [tq, tk, tv, td] = given
        const list = makeList()
        list.run('forward', attention(shape), tq, tk, tv, made.merged, sums)
        list.run(
          'queries',
          attentionBackwardQueries(shape),
          tq,
          tk,
          tv,
          made.merged,
          td,
          sums,
          along,
          made.dq,
        )
        list.run('keys, values', attentionBackwardKeys(shape), tq, tk, tv, td, sums, along, made.dk, made.dv)
        const values = new Map([q, k, v, dMerged].map((m, i) => [given[i] ?? tq, single(m)]))
        return runOnce(open, list, values, made)
      }),

    output: ({ x, embedding, targets }) =>
      withDevice(async (open) => {
        const { rows, columns: width } = x
        const chunk = {
          rows,
          firstRow: 0,
          columns: embedding.rows,
          parts: choices.lossParts,
          length: 1,
          threadsPerRow: choices.threadsPerRow,
        }
        const [tx, te] = [tensor('x', rows * width), tensor('embedding', embedding.rows * width)]
        const [ids, numbers] = [tensor('ids', 2 * rows), tensor('numbers', STEP_NUMBERS_SIZE)]
        const made = {
          dx: tensor('dx', tx.size),
          dEmbedding: tensor('dE', te.size),
          losses: tensor('losses', 256),
        }
        const logits = scratch('logits', rows * embedding.rows)
        const [found, losses] = [scratch('found', 2 * rows * pairsOf(chunk)), scratch('losses', rows)]
        const product = (order: Product['order'], m: number, n: number, k: number) => {
          const whole: Product = { order, m, n, k, result: 'set' }
          return matmul(whole, choices.tile(whole))
        }
        const list = makeList()
        list.run('logits', product('NT', rows, embedding.rows, width), tx, te, logits)
        list.run('sums', partialSums(chunk), logits, found)
        list.run('loss', crossEntropy(chunk, true), ids, found, logits, losses, numbers)
        list.run('sum', sumLosses(rows), losses, made.losses)
        list.run('dE', product('TN', embedding.rows, width, rows), logits, tx, made.dEmbedding)
        list.run('dx', product('NN', rows, width, embedding.rows), logits, te, made.dx)
        const given = new Map<typeof tx, Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>>([
          [tx, single(x)],
          [te, single(embedding)],
          [ids, Uint32Array.from(targets.flatMap((target) => [0, target]))],
          [numbers, stepNumbers({ keep: 1, rate: 0, unbias: 1, rows }, 'f32')],
        ])
        const got = await runOnce(open, list, given, made)
        return { ...got, loss: got.losses.reduce((sum, loss) => sum + loss, 0) / rows }
      }),
  }
}

async function withDevice<T>(work: (open: OpenDevice) => Promise<T>): Promise<T> {
  const open = await openDevice()
  try {
    return await work(open)
  } finally {
    open.release()
  }
}
