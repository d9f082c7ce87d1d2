/** Content-addressed bytes: a name that is a SHA-256 cannot be stale. Drivers beside this file; one contract suite. */

export interface BlobStore {
  /** Durable when it resolves. Storing the same bytes again is a no-op. */
  put(bytes: Uint8Array): Promise<string>
  /** Takes over a file that is durable and has this hash; it is moved, not copied. Durable when it resolves. */
  adopt(file: string, hash: string): Promise<void>
  has(hash: string): Promise<boolean>
  /** @throws PotluckError `not-found`, or `bad-blob` when the bytes no longer hash to their name. */
  get(hash: string): Promise<Uint8Array<ArrayBuffer>>
  /** Reads all of it without holding it. @throws as `get` does. */
  verify(hash: string): Promise<void>
  /** Where the bytes lie, for streaming and for worker threads. */
  path(hash: string): string
  delete(hash: string): Promise<void>
}
