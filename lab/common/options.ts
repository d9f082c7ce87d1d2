/** The command line that the experiments have in common: --quick --out --cache --seeds --jobs, and what each adds. */
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { PotluckError } from '../../shared/protocol/errors.ts'

export interface Options {
  /** A small form of a few minutes at most. */
  readonly quick: boolean
  /** Folder of the report's files. */
  readonly out: string
  /** File of finished runs. */
  readonly cache: string
  /** Null: as many as the experiment has by itself. */
  readonly seeds: number | null
  /** Processes at once. */
  readonly jobs: number
}

export const OUT = 'lab-out'

const path = z.string().min(1)
const schema = z.strictObject({
  quick: z.boolean().default(false),
  out: path.default(OUT),
  cache: path.optional(),
  seeds: z.coerce.number().int().min(1).max(100).nullable().default(null),
  jobs: z.coerce.number().int().min(1).max(64).optional(),
})

/** An option that one experiment alone has. */
export interface Extra<Value> {
  readonly type: 'string' | 'boolean'
  readonly schema: z.ZodType<Value>
}

type Values<E> = { readonly [K in keyof E]: E[K] extends Extra<infer Value> ? Value : never }

/**
 * `words` as they stood on the command line.
 * @throws PotluckError `bad-request` that names every option at fault.
 */
export function readOptions<E extends Record<string, Extra<unknown>> = Record<never, never>>(
  name: string,
  words: readonly string[],
  extras: E = {} as E, // no extras are an E without keys
): Options & Values<E> {
  const text = { type: 'string' } as const
  const own = Object.fromEntries(Object.entries(extras).map(([key, { type }]) => [key, { type }]))
  const options = {
    quick: { type: 'boolean' },
    out: text,
    cache: text,
    seeds: text,
    jobs: text,
    ...own,
  } as const
  const shape = Object.fromEntries(Object.entries(extras).map((entry) => [entry[0], entry[1].schema]))
  try {
    const { values } = parseArgs({ args: [...words], options, strict: true })
    const read = schema.extend(shape).parse(values)
    const { out, cache, jobs } = read
    const filled = {
      ...read,
      cache: cache ?? `${out}/${name}.runs.jsonl`,
      jobs: jobs ?? availableParallelism(),
    }
    return filled as Options & Values<E> // the schema has the extras' schemas
  } catch (error) {
    const faults =
      error instanceof z.ZodError
        ? error.issues.map((issue) => `--${issue.path.join('.')}: ${issue.message}`).join('; ')
        : String(error instanceof Error ? error.message : error)
    throw new PotluckError('bad-request', `The experiment "${name}" does not understand that. ${faults}`)
  }
}
