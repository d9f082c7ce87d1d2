/** What the cache of this experiment holds: a run is known by its settings, cell and seed. */
import { z } from 'zod'
import { type Cache, openCache as openAny } from '../common/cache.ts'
import type { RunResult } from './run.ts'
import type { Cell, Settings } from './settings.ts'

const number = z.number().nonnegative()
const resultSchema: z.ZodType<RunResult> = z.strictObject({
  valLoss: number,
  startLoss: number,
  bytesUp: number,
  bytesDown: number,
  seconds: number,
})

export const keyOf = (settings: Settings, cell: Cell, seed: string): string =>
  JSON.stringify([settings, cell, seed])

export const openCache = (path: string | null): Promise<Cache<RunResult>> => openAny(path, resultSchema)
