/**
 * Finished runs in a file of JSON lines, so that an interrupted experiment goes on where it was. A run is known by its
 * key, which has to say everything that its result hangs on; the code is not part of that, so use a new file when it
 * has changed.
 */
import { appendFile, mkdir, readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { z } from 'zod'

export interface Cache<Result> {
  get(key: string): Result | undefined
  put(key: string, result: Result): Promise<void>
}

/** `null` forgets everything with the process. Lines that make no sense, such as a last one cut short, are passed over. */
export async function openCache<Result>(
  path: string | null,
  resultSchema: z.ZodType<Result>,
): Promise<Cache<Result>> {
  const lineSchema = z.strictObject({ key: z.string(), result: resultSchema })
  const read = (line: string): [string, Result][] => {
    try {
      const { key, result } = lineSchema.parse(JSON.parse(line))
      return [[key, result]]
    } catch {
      return []
    }
  }
  const text = path === null ? '' : await readFile(path, 'utf8').catch(orMissing)
  const known = new Map(text.split('\n').flatMap(read))
  if (path !== null) await mkdir(dirname(path), { recursive: true })
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
