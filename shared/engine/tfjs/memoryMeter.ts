/**
 * Measures the most memory that the current backend has held since the meter began: for tests and benchmarks, because
 * it hooks into what allocates. On webgpu the device's buffers, those in the backend's pool included; elsewhere the bytes
 * of all tensors.
 */
import * as tf from '@tensorflow/tfjs-core'
import type { Backend } from '../engine.ts'
import { gpu } from './gpuMemory.ts'

export interface MemoryMeter {
  /** Bytes. */
  peak(): number
  stop(): void
}

/** Begin before the engine is made: what exists already is not seen on webgpu. */
export function meterMemory(backend: Backend): MemoryMeter {
  return backend === 'webgpu' ? meterBuffers(gpu().device) : meterTensors()
}

function meterBuffers(device: GPUDevice): MemoryMeter {
  const create = device.createBuffer
  let [now, peak] = [0, 0]
  device.createBuffer = (descriptor) => {
    const buffer = create.call(device, descriptor)
    const destroy = buffer.destroy
    now += buffer.size
    peak = Math.max(peak, now)
    buffer.destroy = () => {
      now -= buffer.size
      buffer.destroy = destroy
      destroy.call(buffer)
    }
    return buffer
  }
  return {
    peak: () => peak,
    stop() {
      device.createBuffer = create
    },
  }
}

/** The engine's count of bytes, and the method through which every new tensor goes. */
interface Tracker {
  readonly state: { readonly numBytes: number }
  trackTensor(tensor: tf.Tensor, backend: unknown): void
}

function meterTensors(): MemoryMeter {
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
