/** What the laws are fitted to: one point for each size and method, from `lab -- compare` or from the paper. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { PotluckError } from '../../shared/protocol/errors.ts'
import { reportSchema } from '../common/report.ts'
import { LOSSES, METHODS } from './paper.ts'

export const pointSchema = z.strictObject({
  method: z.enum(METHODS),
  /** N: parameters. */
  n: z.number().positive(),
  /** Nats per token. */
  loss: z.number().positive(),
  /** Peak inner learning rate, the best that was found; null where none was looked for. */
  rate: z.number().positive().nullable(),
  /** Global batch in sequences, likewise. */
  batch: z.number().positive().nullable(),
})
export type Point = z.infer<typeof pointSchema>

const comparisonSchema = z.object({ points: z.array(pointSchema).min(1) })

export function paperPoints(): Point[] {
  return LOSSES.flatMap(([n, losses]) =>
    METHODS.map((method, i) => ({ method, n, loss: losses[i] ?? Number.NaN, rate: null, batch: null })),
  )
}

/** @throws PotluckError `not-found` when `lab -- compare` has left nothing there, `bad-request` when it is no such report. */
export async function comparedPoints(folder: string): Promise<Point[]> {
  const path = join(folder, 'compare.json')
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
    throw new PotluckError(
      'not-found',
      `There is no ${path}. Run \`npm run lab -- compare\` first, say where its files are with --from, or fit the paper’s own losses with --paper.`,
    )
  })
  try {
    return comparisonSchema.parse(reportSchema.parse(JSON.parse(text)).data).points
  } catch (error) {
    throw new PotluckError('bad-request', `${path} is no report of \`lab -- compare\`: ${String(error)}`)
  }
}
