/** The one error that encoding and decoding may throw. */
export class CodecError extends Error {
  override readonly name = 'CodecError'
  constructor(
    readonly code: 'wrong-length' | 'not-finite',
    message: string,
  ) {
    super(message)
  }
}
