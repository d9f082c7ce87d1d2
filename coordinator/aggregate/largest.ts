/** NaN, once met, stays. */
export function largestMagnitude(values: Float32Array): number {
  let largest = 0
  for (let i = 0; i < values.length; i++) {
    const magnitude = Math.abs(values[i] as number) // i < length
    if (!(magnitude <= largest)) largest = magnitude
  }
  return largest
}
