/** Log-likelihoods of continuations by an engine: requests as whole sequences, filled up on the right. */
import type { Engine } from '../engine/engine.ts'
import type { EncodedRequest } from './encode.ts'

/**
 * Of each request the sum of ln p over its continuation, in nats, in f64. What fills a sequence up stands after the
 * scored tokens, which cannot see it.
 * @throws what `tokenLosses` throws
 */
export async function logLikelihoods(
  engine: Pick<Engine, 'config' | 'tokenLosses'>,
  requests: readonly EncodedRequest[],
): Promise<Float64Array> {
  const { sequenceLength } = engine.config
  const sequences = new Uint16Array(requests.length * (sequenceLength + 1))
  for (const [i, { ids }] of requests.entries()) sequences.set(ids, i * (sequenceLength + 1))
  const losses = await engine.tokenLosses(sequences) // [requests, sequenceLength]; the n-th is of the id n + 1
  return Float64Array.from(requests, ({ ids, scored }, i) => {
    const end = i * sequenceLength + ids.length - 1
    return -losses.subarray(end - scored, end).reduce((sum, loss) => sum + loss, 0)
  })
}

/** The least power of two that holds what the requests predict, `shortest` at least, `longest` at most. */
export function windowFor(
  requests: readonly EncodedRequest[],
  { shortest, longest }: { shortest: number; longest: number },
): number {
  const most = Math.max(1, ...requests.map(({ ids }) => ids.length - 1))
  return Math.min(longest, Math.max(shortest, 2 ** Math.ceil(Math.log2(most))))
}
