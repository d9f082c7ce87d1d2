/**
 * What a measurement has found on a device, as text that its owner keeps for the next visit (tune.ts measures). It
 * comes back from a place that others may write to, so only what this version would have written is believed.
 */
import { z } from 'zod'
import type { OpenDevice } from '../gpuDevice.ts'
import { CANDIDATES } from './choices.ts'
import type { Tile } from './kernels/matmul.ts'
import type { Speed } from './longDispatches.ts'

export interface Tuned {
  /** Of large products. */
  readonly tile: Tile
  /** Of a large product, and of a stream through memory. */
  readonly speed: Speed
}

/** Raised when the candidates, the kernels or the measurement change. */
const VERSION = 1
/** Characters; what we write has some three hundred. */
const LONGEST = 2_000

const size = z.number().int().positive()
const rate = z.number().positive().max(1e18)
const textSchema = z.strictObject({
  version: z.literal(VERSION),
  device: z.string(),
  tile: z.strictObject({
    way: z.enum(['direct', 'shared']),
    ...{ rows: size, columns: size, across: size, down: size, depth: size },
  }),
  speed: z.strictObject({ flops: rate, bandwidth: rate }),
})

export const candidatesOn = ({ software }: Pick<OpenDevice, 'software'>): readonly Tile[] =>
  CANDIDATES[software ? 'software' : 'gpu']

/** The measurement depends on the adapter and on how its kernels are written, not on the model. */
const deviceOf = ({ name, features }: OpenDevice) => JSON.stringify([name, features])

export const tunedText = (open: OpenDevice, { tile, speed }: Tuned): string =>
  JSON.stringify({ version: VERSION, device: deviceOf(open), tile, speed })

/** Null for what is damaged, of another device or of another version. */
export function readTuned(text: string, open: OpenDevice): Tuned | null {
  if (text.length > LONGEST) return null
  const parsed = textSchema.safeParse(jsonOf(text))
  if (!parsed.success || parsed.data.device !== deviceOf(open)) return null
  const { tile, speed } = parsed.data
  const known = candidatesOn(open).find((candidate) => sameTile(candidate, tile))
  return known === undefined ? null : { tile: known, speed }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

const sameTile = (a: Tile, b: Tile) => (Object.keys(a) as (keyof Tile)[]).every((key) => a[key] === b[key])
