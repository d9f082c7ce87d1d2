/** Errors on their way out of a thread: structured clone keeps only the message, so they travel as plain data. */
import { type ErrorCode, PotluckError } from '../../shared/protocol/errors.ts'
import { Abandoned } from './barrier.ts'

export type Outcome<T> =
  | { readonly value: T }
  | { readonly fault: { readonly code: ErrorCode; readonly message: string; readonly status: number } }
  | { readonly abandoned: string }

/** In the thread. Errors that nobody expects stay errors. */
export async function outcomeOf<T>(work: Promise<T>): Promise<Outcome<T>> {
  try {
    return { value: await work }
  } catch (error) {
    if (error instanceof Abandoned) return { abandoned: error.message }
    if (!(error instanceof PotluckError)) throw error
    const { code, message, status } = error
    return { fault: { code, message, status } }
  }
}

/** Outside it. @throws what the work threw */
export function valueFrom<T>(outcome: Outcome<T>): T {
  if ('value' in outcome) return outcome.value
  if ('abandoned' in outcome) throw new Abandoned(outcome.abandoned)
  const { code, message, status } = outcome.fault
  throw new PotluckError(code, message, status)
}
