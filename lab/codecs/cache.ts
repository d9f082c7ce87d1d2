/**
 * Finished runs in a file of JSON lines, so that an interrupted experiment goes on where it was. A run is known by its
 * settings, cell and seed; the code is not part of that, so use a new file when it has changed.
 */
import { appendFile, readFile } from 'node:fs/promises'
import { z } from 'zod'
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
const lineSchema = z.strictObject({ key: z.string(), result: resultSchema })

export const keyOf = (settings: Settings, cell: Cell, seed: string): string =>
  JSON.stringify([settings, cell, seed])

export interface Cache {
  get(key: string): RunResult | undefined
  put(key: string, result: RunResult): Promise<void>
}

/** `null` forgets everything with the process. Lines that make no sense, such as a last one cut short, are passed over. */
export async function openCache(path: string | null): Promise<Cache> {
  const text = path === null ? '' : await readFile(path, 'utf8').catch(orMissing)
  const known = new Map(text.split('\n').flatMap(read))
  // A line cut short must not swallow the next.
  if (path !== null && text !== '' && !text.endsWith('\n')) await appendFile(path, '\n')
  return {
    get: (key) => known.get(key),
    async put(key, result) {
      known.set(key, result)
      if (path !== null) await appendFile(path, `${JSON.stringify({ key, result })}\n`)
    },
  }
}

function orMissing(error: NodeJS.ErrnoException): string {
  if (error.code === 'ENOENT') return ''
  throw error
}

function read(line: string): [string, RunResult][] {
  try {
    const { key, result } = lineSchema.parse(JSON.parse(line))
    return [[key, result]]
  } catch {
    return []
  }
}
