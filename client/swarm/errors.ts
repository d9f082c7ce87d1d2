/** Judgements about what was thrown in the conversation. Pure. */
import { EngineError } from '../../shared/engine/engine.ts'

export const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'unexpected'

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** The engine's numbers or its work went wrong, and a fresh one may do better; a steady engine that has ended may not. */
export function isEngineFault(error: unknown): error is Error {
  const code = codeOf(error)
  const ended = code === 'engine/device-lost' || code === 'engine/backend-missing'
  return !ended && (error instanceof EngineError || code.startsWith('engine/'))
}

/** Errors that time or the next round mends. */
export function isPassing(error: unknown): boolean {
  return ['unanswered', 'not-found', 'rate-limited', 'internal', 'run-state'].includes(codeOf(error))
}
