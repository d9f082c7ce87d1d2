/** The one error that encoding and decoding may throw. */
export class CodecError extends Error {
  override readonly name = 'CodecError'
  constructor(
    /**
     * `wrong-length`: not the exact number of bytes. `not-finite`: a NaN, an infinity, or a magnitude that the codec
     * cannot hold. `malformed`: right in length, but nothing that encoding gives.
     */
    readonly code: 'wrong-length' | 'not-finite' | 'malformed',
    message: string,
  ) {
    super(message)
  }
}
