/** The border: what comes in is parsed with a schema and refused with every fault named. */
import type { z } from 'zod'
import { PotluckError } from '../../shared/protocol/errors.ts'

/** @throws PotluckError `bad-request`. */
export function parse<S extends z.ZodType>(schema: S, value: unknown): z.output<S> {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const faults = parsed.error.issues.slice(0, 10).map(({ path, message }) => {
    return path.length === 0 ? message : `${path.join('.')}: ${message}`
  })
  throw new PotluckError('bad-request', `That request is not right. ${faults.join('; ')}.`)
}
