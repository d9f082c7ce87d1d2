/** A micro-batch as the device takes it: ids, and the order that the embedding's gradient is summed in. */

export interface HostBatch {
  /** [B·(T + 1)] */
  readonly ids: Uint32Array<ArrayBuffer>
  /** The rows 0 … N − 1, sorted by the id that each has as input; equal ids keep their order. */
  readonly order: Uint32Array<ArrayBuffer>
  /** Where in `order` each distinct id begins, filled up with N to N + 1 entries. */
  readonly starts: Uint32Array<ArrayBuffer>
}

/** `sequences`: whole ones of `length` + 1 ids below `vocabSize`. A counting sort: linear in rows and vocabulary. */
export function hostBatch(sequences: Uint16Array, length: number, vocabSize: number): HostBatch {
  const rows = (sequences.length / (length + 1)) * length
  const inputOf = (row: number) =>
    sequences[Math.floor(row / length) * (length + 1) + (row % length)] as number // in range
  const next = new Uint32Array(vocabSize + 1)
  for (let row = 0; row < rows; row++) {
    const id = inputOf(row)
    next[id + 1] = (next[id + 1] as number) + 1
  }
  const starts = new Uint32Array(rows + 1).fill(rows)
  let distinct = 0
  for (let id = 0; id < vocabSize; id++) {
    const count = next[id + 1] as number // one more than the vocabulary
    if (count > 0) starts[distinct++] = next[id] as number
    next[id + 1] = (next[id] as number) + count
  }
  const order = new Uint32Array(rows)
  for (let row = 0; row < rows; row++) {
    const id = inputOf(row)
    order[next[id] as number] = row
    next[id] = (next[id] as number) + 1
  }
  return { ids: Uint32Array.from(sequences), order, starts }
}
