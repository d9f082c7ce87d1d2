/**
 * Rows of the embedding by token id, and the gradient of that. The batch lies on the device as it came: whole
 * sequences of T + 1 ids. For the gradient the host has sorted the positions by id, so that every row of the embedding
 * is summed by its own threads, always in the same order, without atomics.
 */
import { elementwise, type Kernel } from '../kernel.ts'

/** Index of token n's input in the ids; its target is the next one. */
export const inputAt = (n: string, length: number) =>
  `(${n} / ${length}u * ${length + 1}u + ${n} % ${length}u)`

/** ids: [B·(T + 1)], embedding: [V, d] → x: [N, d] */
export function gatherRows({ rows, width, length }: { rows: number; width: number; length: number }): Kernel {
  return elementwise({
    kind: 'embedding',
    buffers: { ids: 'read u32', embedding: 'read f32', x: 'write f32' },
    count: rows * width,
    body: /* wgsl */ `
  let n = i / ${width}u;
  x[i] = embedding[ids[${inputAt('n', length)}] * ${width}u + i % ${width}u];`,
  })
}

/**
 * order: the rows 0 … N − 1 sorted by their ids. starts: where in `order` each distinct id begins, then N, again and
 * again up to N + 1 entries. dx: [N, d]; adds to dEmbedding: [V, d].
 */
export function scatterRows({
  rows,
  width,
  length,
}: {
  rows: number
  width: number
  length: number
}): Kernel {
  return elementwise({
    kind: 'embedding gradient',
    buffers: {
      ids: 'read u32',
      order: 'read u32',
      starts: 'read u32',
      dx: 'read f32',
      dEmbedding: 'update f32',
    },
    count: rows * width,
    flops: rows * width,
    body: /* wgsl */ `
  let j = i % ${width}u;
  let begin = starts[i / ${width}u];
  let end = starts[i / ${width}u + 1u];
  if (begin >= end) { return; }
  var sum = 0.0;
  for (var at = begin; at < end; at++) { sum += dx[order[at] * ${width}u + j]; }
  let n = order[begin];
  dEmbedding[ids[${inputAt('n', length)}] * ${width}u + j] += sum;`,
  })
}
