/** Content-addressed bytes: a name that is a SHA-256 cannot be stale. Drivers beside this file; one contract suite. */

export type Streamed = 'stored' | 'wrong-length' | 'hash-mismatch'

export interface BlobStore {
  /** Durable when it resolves. Storing the same bytes again is a no-op. */
  put(bytes: Uint8Array): Promise<string>
  /**
   * Stores a stream that should have this hash and length without holding it in memory; what does not match is
   * thrown away. Stops reading as soon as there is too much.
   */
  putStream(source: AsyncIterable<Uint8Array>, expected: { hash: string; bytes: number }): Promise<Streamed>
  has(hash: string): Promise<boolean>
  /** @throws PotluckError `not-found`, or `bad-blob` when the bytes no longer hash to their name. */
  get(hash: string): Promise<Uint8Array<ArrayBuffer>>
  /** Where the bytes lie, for streaming and for worker threads. */
  path(hash: string): string
  delete(hash: string): Promise<void>
}
