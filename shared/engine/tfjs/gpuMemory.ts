/**
 * TensorFlow.js's webgpu backend seen from below: the buffers of tensors, work of our own recorded into its command
 * encoder, and reading several buffers at once. Only for use while webgpu is the current backend. Pinned to 4.22.0, whose
 * internals it uses (facts and their tests: defects.browser.test.ts).
 */
import * as tf from '@tensorflow/tfjs-core'

/** The backend's fields that are used here; some are private in its types. */
interface Backend {
  readonly device: GPUDevice
  readonly tensorMap: { get(id: object): { resource?: GPUBuffer; values: unknown } }
  /** Buffers that return to the pool at the next submit, not before, if disposed meanwhile. */
  readonly commandQueueOwnedIds: WeakSet<object>
  commandEncoder: GPUCommandEncoder | null
  makeTensorInfo(shape: number[], dtype: 'float32'): tf.TensorInfo
  uploadToGPU(id: object): void
  ensureCommandEncoderReady(): void
  endComputePassEncoder(): void
  submitQueue(): void
}

export interface Gpu {
  readonly device: GPUDevice
  /** A new float32 tensor on the device with whatever an earlier one left in its buffer. */
  newTensor<R extends tf.Rank>(shape: tf.ShapeMap[R]): tf.Tensor<R>
  /** Makes the buffer zeros, after everything recorded so far. */
  clear(tensor: tf.Tensor): void
  /** A tensor's buffer, which has exactly its size; it is the device's to change from now on. */
  bufferOf(tensor: tf.Tensor): GPUBuffer
  /** Submits whatever the backend has recorded, so that later writes and copies come after it. */
  flush(): void
  /** Records a pass after everything the backend has recorded. `tensors` are those that it reads or writes. */
  record(tensors: readonly tf.Tensor[], work: (pass: GPUComputePassEncoder) => void): void
}

/** Of the current backend. */
export function gpu(): Gpu {
  const backend = tf.backend() as unknown as Backend
  const onDevice = ({ dataId }: tf.TensorInfo) => {
    backend.uploadToGPU(dataId)
    const data = backend.tensorMap.get(dataId)
    data.values = null // a copy on the host would go stale
    return data.resource as GPUBuffer // uploadToGPU has set it
  }
  /** Between two passes. */
  const encoder = () => {
    backend.ensureCommandEncoderReady()
    backend.endComputePassEncoder()
    return backend.commandEncoder as GPUCommandEncoder // made ready above
  }
  return {
    device: backend.device,
    newTensor<R extends tf.Rank>(shape: tf.ShapeMap[R]) {
      const info = backend.makeTensorInfo(shape, 'float32')
      onDevice(info)
      return tf.engine().makeTensorFromTensorInfo(info) as tf.Tensor<R> // of the shape it is given
    },
    clear: (tensor) => encoder().clearBuffer(onDevice(tensor)),
    bufferOf: onDevice,
    flush() {
      backend.endComputePassEncoder()
      if (backend.commandEncoder) backend.submitQueue()
    },
    record(tensors, work) {
      for (const tensor of tensors) onDevice(tensor) // may itself record a copy, so before the pass
      const pass = encoder().beginComputePass()
      work(pass)
      pass.end()
      for (const { dataId } of tensors) backend.commandQueueOwnedIds.add(dataId)
    },
  }
}

/** A buffer of `count` 32-bit numbers, all zeros. */
export function newBuffer(count: number, use: GPUBufferUsageFlags = GPUBufferUsage.STORAGE): GPUBuffer {
  const usage = use | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST
  return gpu().device.createBuffer({ size: 4 * count, usage })
}

/** A part of a buffer and where it goes; all counted in elements. */
export interface Part {
  readonly buffer: GPUBuffer
  readonly from: number
  readonly size: number
  readonly at: number
}

/** The parts in one array, as they are now: what is asked of the device later does not show. Device → CPU. */
export async function readBuffers(parts: readonly Part[]): Promise<Float32Array<ArrayBuffer>> {
  const { device, flush } = gpu()
  const size = 4 * parts.reduce((end, part) => Math.max(end, part.at + part.size), 0)
  if (size === 0) return new Float32Array()
  const staging = device.createBuffer({ size, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ })
  try {
    flush()
    const encoder = device.createCommandEncoder()
    for (const { buffer, from, at, size: count } of parts)
      encoder.copyBufferToBuffer(buffer, 4 * from, staging, 4 * at, 4 * count)
    device.queue.submit([encoder.finish()])
    await staging.mapAsync(GPUMapMode.READ)
    return new Float32Array(staging.getMappedRange().slice(0))
  } finally {
    staging.destroy()
  }
}

export function pipeline(code: string): GPUComputePipeline {
  const { device } = gpu()
  return device.createComputePipeline({
    layout: 'auto',
    compute: { module: device.createShaderModule({ code }), entryPoint: 'main' },
  })
}

/** One launch; buffers are bound in the order of their bindings. More than 65,535 workgroups go into a second row. */
export function dispatch(
  pass: GPUComputePassEncoder,
  pipeline: GPUComputePipeline,
  buffers: readonly GPUBuffer[],
  groups: number,
): void {
  const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }))
  const group = gpu().device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries })
  pass.setPipeline(pipeline)
  pass.setBindGroup(0, group)
  const columns = Math.min(groups, MOST_COLUMNS)
  pass.dispatchWorkgroups(columns, Math.ceil(groups / columns))
}

/** WebGPU's least limit for one dimension. */
const MOST_COLUMNS = 65_535
