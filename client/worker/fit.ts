/**
 * What fits this device's memory: which micro-batches, and why not. Browsers say little about memory, so the budget
 * is cautious; a device that fails all the same is survived by steadyEngine.ts.
 */
import { compiledPeakBytes } from '../../shared/engine/compiled/predict.ts'
import type { Backend } from '../../shared/engine/engine.ts'
import { momentBytes, predictPeakBytes } from '../../shared/engine/tfjs/peakBytes.ts'
import type { ModelConfig } from '../../shared/model/config.ts'

const GIB = 2 ** 30
/** A WebAssembly memory ends at 4 GiB; packed matrices and gaps take a third beside the tensors (measured: 1.25). */
const WASM_BYTES = (4 * GIB) / 1.35
/** Of what the device has: the rest is the page's, the browser's and the other tabs'. */
const SHARE = 1 / 2
/** Where the browser does not say: what nearly every device has. */
const UNKNOWN_MEMORY_GIB = 4

export interface DeviceMemory {
  /** `navigator.deviceMemory`: GiB, rounded and at most 8 or 32; undefined in Firefox and Safari. */
  readonly gib: number | undefined
}

/** Bytes that the engine may take; on wasm the moments lie beside the WebAssembly memory. */
export function budgetOf(
  config: ModelConfig,
  backend: Backend,
  { gib = UNKNOWN_MEMORY_GIB }: DeviceMemory,
): number {
  const share = gib * GIB * SHARE
  return backend === 'wasm' ? Math.min(WASM_BYTES + momentBytes(config), share) : share
}

export interface Fit {
  /** Sequences computed at once. */
  readonly microBatch: number
  /** Predicted. */
  readonly peakBytes: number
}

/** The divisors of the batch whose steps fit, smallest first; none when not even one sequence does. */
export function fitsOf(
  config: ModelConfig,
  batchSize: number,
  backend: Backend,
  memory: DeviceMemory,
): Fit[] {
  const budget = budgetOf(config, backend, memory)
  return divisors(batchSize)
    .map((microBatch) => ({ microBatch, peakBytes: peakOf(config, batchSize, backend, microBatch) }))
    .filter(({ peakBytes }) => peakBytes <= budget)
}

/** Bytes of a step of one sequence at a time: the least there is. */
export const leastBytes = (config: ModelConfig, batchSize: number, backend: Backend) =>
  peakOf(config, batchSize, backend, 1)

/** On WebGPU that of the compiled step; TensorFlow.js's where no plan of it can run. */
function peakOf(config: ModelConfig, batchSize: number, backend: Backend, microBatch: number): number {
  const shape = { microBatch, accumulates: microBatch < batchSize }
  const compiled = backend === 'webgpu' ? compiledPeakBytes(config, shape) : null
  return compiled ?? predictPeakBytes(config, { backend, ...shape })
}

export function divisors(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i + 1).filter((d) => n % d === 0)
}
