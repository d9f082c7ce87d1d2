/** Picks the next token id from logits, on the host. The same logits and the same uniform give the same id. */

/**
 * Greedy when `temperature` is 0, otherwise by the softmax of logits/temperature among the `topK` likeliest
 * (0: all). `uniform` is in [0, 1).
 */
export function sampleId(logits: Float32Array, temperature: number, topK: number, uniform: number): number {
  const ids = Array.from(logits.keys()).sort((a, b) => at(logits, b) - at(logits, a) || a - b)
  const likeliest = at(ids, 0)
  if (temperature === 0) return likeliest
  const candidates = topK > 0 ? ids.slice(0, topK) : ids
  const weights = candidates.map((id) => Math.exp((at(logits, id) - at(logits, likeliest)) / temperature))
  let left = uniform * weights.reduce((sum, weight) => sum + weight, 0)
  for (const [i, weight] of weights.entries()) {
    left -= weight
    if (left < 0) return at(candidates, i)
  }
  return likeliest
}

function at(values: ArrayLike<number>, index: number): number {
  const value = values[index]
  if (value === undefined) throw new RangeError(`internal: index ${index} of ${values.length}`)
  return value
}
