/** Which validation text is measured, and how many bytes it stands for. Pure. */

/** About `tokens` predicted tokens in whole sequences, spread evenly; all of them when there are fewer. */
export function evenly(validation: Uint16Array, stride: number, tokens: number): Uint16Array {
  const available = validation.length / stride
  const wanted = Math.min(available, Math.max(1, Math.round(tokens / (stride - 1))))
  const chosen = new Uint16Array(wanted * stride)
  for (let i = 0; i < wanted; i++) {
    const from = Math.floor((i * available) / wanted) * stride
    chosen.set(validation.subarray(from, from + stride), i * stride)
  }
  return chosen
}

/** Bytes of text that the predicted tokens (all but each sequence's first) stand for. */
export function byteCount(
  sequences: Uint16Array,
  stride: number,
  tokenizer: { byteLength(id: number): number },
): number {
  let bytes = 0
  sequences.forEach((id, i) => {
    if (i % stride !== 0) bytes += tokenizer.byteLength(id)
  })
  return bytes
}
