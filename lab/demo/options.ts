/** The demo's command line: `npm run demo -- --tabs 3 --rounds 5 --preset nano --port 0 --keep --json`. */
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { PRESET_NAMES } from '../../shared/model/config.ts'
import { PotluckError } from '../../shared/protocol/errors.ts'

const schema = z.strictObject({
  tabs: z.coerce.number().int().min(1).max(16).default(3),
  rounds: z.coerce.number().int().min(1).max(1_000).default(5),
  preset: z.enum(PRESET_NAMES).default('nano'),
  port: z.coerce.number().int().min(0).max(65_535).default(0),
  keep: z.boolean().default(false),
  json: z.boolean().default(false),
})
export type DemoOptions = z.infer<typeof schema>

/** @throws PotluckError `bad-request` that names every option at fault. */
export function readOptions(words: readonly string[]): DemoOptions {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean' } as const
  const options = { tabs: text, rounds: text, preset: text, port: text, keep: flag, json: flag }
  try {
    return schema.parse(parseArgs({ args: [...words], options, strict: true }).values)
  } catch (error) {
    const faults =
      error instanceof z.ZodError
        ? error.issues.map(({ path, message }) => `--${path.join('.')}: ${message}`).join('; ')
        : String(error instanceof Error ? error.message : error)
    throw new PotluckError('bad-request', `The demo does not understand that. ${faults}`)
  }
}
