/**
 * Going on while bytes travel (algorithm of Streaming DiLoCo, arXiv 2501.18512, with a mixing factor of 1 on what was
 * trained meanwhile): a replica keeps the steps that it took after its contribution was made.
 */

/**
 * θ_local ← θ_global + (θ_local − θ_mark): the new global weights, and on top of them what was trained since the mark, the
 * parameters at which the contribution was made. All of the same length; writes into a new array.
 */
export function carriedOver(
  global: Float32Array,
  local: Float32Array,
  mark: Float32Array,
): Float32Array<ArrayBuffer> {
  if (global.length !== local.length || local.length !== mark.length) {
    throw new RangeError(`${global.length}, ${local.length} and ${mark.length} parameters`)
  }
  const moved = new Float32Array(global.length)
  for (let i = 0; i < moved.length; i++) {
    moved[i] = (global[i] as number) + ((local[i] as number) - (mark[i] as number)) // i < length
  }
  return moved
}
