/**
 * The catalogue of errors: a stable code for programs, a sentence for people. The coordinator answers every
 * refusal with one of these; `internal` is the only one that is our own fault.
 */

export const ERROR_CODES = [
  'bad-request',
  'unauthorized',
  'forbidden',
  'not-found',
  'rate-limited',
  'too-large',
  'upload-offset',
  'upload-cut',
  'conflict',
  'protocol-version',
  'no-run',
  'run-exists',
  'run-state',
  'volunteer-removed',
  'setup-done',
  'setup-link',
  'wrong-password',
  'bad-config',
  'bad-corpus',
  'bad-blob',
  'bad-weights',
  'bad-start',
  'bad-task',
  'bad-state',
  'evaluation-failed',
  'slice-over',
  'address-in-use',
  'internal',
] as const
export type ErrorCode = (typeof ERROR_CODES)[number]

/** What an HTTP route or a socket acknowledgement answers instead of a result. */
export interface ErrorBody {
  readonly error: { readonly code: ErrorCode; readonly message: string }
}

export class PotluckError extends Error {
  override readonly name = 'PotluckError'
  constructor(
    readonly code: ErrorCode,
    message: string,
    /** HTTP status that carries it. */
    readonly status: number = 400,
  ) {
    super(message)
  }

  toBody(): ErrorBody {
    return { error: { code: this.code, message: this.message } }
  }
}
