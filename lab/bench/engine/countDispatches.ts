/** Sees any WebGPU engine in this Worker or process, ours or a peer's: it sits on the API itself. */

/** The number of compute dispatches so far. Begin before the first device is made. */
export function countDispatches(): () => number {
  let count = 0
  if (typeof GPUComputePassEncoder === 'undefined') return () => count
  const { prototype } = GPUComputePassEncoder
  const { dispatchWorkgroups } = prototype
  prototype.dispatchWorkgroups = function (...size) {
    count++
    return dispatchWorkgroups.apply(this, size)
  }
  return () => count
}
