/**
 * Measures the most memory that the current backend has held since the meter began: for tests and benchmarks, because
 * it hooks into what allocates. On webgpu the device's buffers and on webgl its textures, those in the backend's pool
 * included; on wasm the bytes of all tensors, to which `bytesBeside` adds what our engine holds in no tensor.
 */
import * as tf from '@tensorflow/tfjs-core'
import type { Backend, Engine } from '../engine.ts'

export interface MemoryMeter {
  /** Bytes. */
  peak(): number
  stop(): void
}

/** Begin before the engine is made: buffers that exist already are not seen on webgpu. */
export function meterMemory(backend: Backend): MemoryMeter {
  return { wasm: meterTensors, webgpu: meterBuffers, webgl: meterTextures }[backend]()
}

/** The pool never shrinks, so what it has is the peak since the webgl backend began. */
function meterTextures(): MemoryMeter {
  const memory = () => tf.memory() as tf.MemoryInfo & { numBytesInGPUAllocated: number } // the webgl backend's
  return { peak: () => memory().numBytesInGPUAllocated, stop: () => undefined }
}

/** Of every device there is or will be: the buffers made from now on. */
export function meterBuffers(): MemoryMeter {
  let [now, peak] = [0, 0]
  if (typeof GPUDevice === 'undefined') return { peak: () => peak, stop: () => undefined }
  const { createBuffer } = GPUDevice.prototype
  const { destroy } = GPUBuffer.prototype
  const alive = new WeakSet<GPUBuffer>()
  GPUDevice.prototype.createBuffer = function (descriptor) {
    const buffer = createBuffer.call(this, descriptor)
    alive.add(buffer)
    now += buffer.size
    peak = Math.max(peak, now)
    return buffer
  }
  GPUBuffer.prototype.destroy = function () {
    if (alive.delete(this)) now -= this.size
    return destroy.call(this)
  }
  return {
    peak: () => peak,
    stop() {
      GPUDevice.prototype.createBuffer = createBuffer
      GPUBuffer.prototype.destroy = destroy
    },
  }
}

/** The engine's count of bytes, and the method through which every new tensor goes. */
interface Tracker {
  readonly state: { readonly numBytes: number }
  trackTensor(tensor: tf.Tensor, backend: unknown): void
}

/** Of whatever backend is current. */
export function meterTensors(): MemoryMeter {
  const tracker = tf.engine() as unknown as Tracker
  const track = tracker.trackTensor
  let peak = tracker.state.numBytes
  tracker.trackTensor = (tensor, backend) => {
    track.call(tracker, tensor, backend)
    peak = Math.max(peak, tracker.state.numBytes)
  }
  return {
    peak: () => peak,
    stop() {
      tracker.trackTensor = track
    },
  }
}

/** Of an engine's memory what no meter sees: on wasm the moments are arrays of JavaScript's. */
export async function bytesBeside(engine: Engine): Promise<number> {
  if (engine.backend !== 'wasm') return 0
  const { firstMoment, secondMoment } = await engine.getOptimiserState()
  return firstMoment.byteLength + secondMoment.byteLength
}
