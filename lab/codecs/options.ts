/** The experiment's command line: `npm run lab -- codecs --seeds 4 --jobs 1 --cache runs.jsonl --out codecs.svg --quick`. */
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { PotluckError } from '../../shared/protocol/errors.ts'

const path = z.string().min(1)
const schema = z.strictObject({
  seeds: z.coerce.number().int().min(1).max(100).optional(),
  jobs: z.coerce.number().int().min(1).max(64).default(1),
  cache: path.nullable().default(null),
  out: path.default('codecs.svg'),
  quick: z.boolean().default(false),
})

export interface Options {
  readonly seeds: number
  /** Processes at once. */
  readonly jobs: number
  /** File of finished runs. */
  readonly cache: string | null
  /** Where the plot goes. */
  readonly out: string
  /** A small model and few steps, to see that everything works. */
  readonly quick: boolean
}

/** @throws PotluckError `bad-request` that names every option at fault. */
export function readOptions(words: readonly string[]): Options {
  const text = { type: 'string' } as const
  const options = { seeds: text, jobs: text, cache: text, out: text, quick: { type: 'boolean' } } as const
  try {
    const read = schema.parse(parseArgs({ args: [...words], options, strict: true }).values)
    return { ...read, seeds: read.seeds ?? (read.quick ? 2 : 4) }
  } catch (error) {
    const faults =
      error instanceof z.ZodError
        ? error.issues.map(({ path, message }) => `--${path.join('.')}: ${message}`).join('; ')
        : String(error instanceof Error ? error.message : error)
    throw new PotluckError('bad-request', `The experiment does not understand that. ${faults}`)
  }
}
