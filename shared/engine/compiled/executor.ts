/**
 * Runs plans: compiles their pipelines all at once, makes buffers and bind groups once, and then replays the calls. In
 * the steady state nothing is allocated and nothing read but what the caller asks for.
 */
import type { OpenDevice } from '../gpuDevice.ts'
import { bytesOf, type Kernel, tooLarge } from './kernel.ts'
import { bytesIn, type Call, keptTensors, type Plan, place, type Tensor } from './plan.ts'

/** Buffers of the tensors that live as long as an engine. */
export type Memory = Map<Tensor, GPUBuffer>

export interface Executable {
  /** Clears what a step begins with. */
  begin(): void
  pass(): void
  update(): void
  bufferOf(tensor: Tensor): GPUBuffer
  /** Runs everything once, each call in a pass of its own between two timestamps: milliseconds, in the plan's order. */
  times(): Promise<number[]>
  /** Frees what is this plan's alone. */
  dispose(): void
}

export interface CompileProgress {
  readonly done: number
  readonly of: number
}

export function newBuffer({ device }: Pick<OpenDevice, 'device'>, bytes: number, label: string): GPUBuffer {
  const { STORAGE, UNIFORM, COPY_SRC, COPY_DST } = GPUBufferUsage
  return device.createBuffer({ size: bytes, label, usage: STORAGE | UNIFORM | COPY_SRC | COPY_DST })
}

/** `memory` has the buffers that are shared with other plans; those this plan needs besides are its own. */
export async function compile(
  open: OpenDevice,
  plan: Plan,
  memory: Memory,
  progress?: (progress: CompileProgress) => void,
): Promise<Executable> {
  const { device } = open
  checkSizes(plan, device.limits)
  const pipelines = await pipelinesOf(open, plan, progress)
  const placement = place(plan)
  const shared = placement.buffers.map((size, i) => newBuffer(open, size, `scratch ${i}`))
  const kept = [...keptTensors(plan)].filter((tensor) => !memory.has(tensor))
  const own: Memory = new Map(kept.map((tensor) => [tensor, newBuffer(open, bytesIn(tensor), tensor.name)]))
  const bufferOf = (tensor: Tensor): GPUBuffer => {
    const found = memory.get(tensor) ?? own.get(tensor) ?? shared[placement.of.get(tensor) ?? -1]
    if (!found) throw new Error(`internal: no buffer for ${tensor.name}`)
    return found
  }
  const sizes = new Map<string, GPUBuffer>()
  const sizesOf = ({ constants }: Kernel) => {
    const key = constants.join()
    const made = sizes.get(key) ?? constantsBuffer(device, constants)
    sizes.set(key, made)
    return made
  }
  const bind = (call: Call): Bound => bound(device, call, pipelines.get(call.kernel.code), bufferOf, sizesOf)
  const [pass, update] = [plan.pass.map(bind), plan.update.map(bind)]
  return {
    begin() {
      const encoder = device.createCommandEncoder()
      for (const tensor of plan.cleared) encoder.clearBuffer(bufferOf(tensor))
      device.queue.submit([encoder.finish()])
    },
    pass: () => replay(device, pass),
    update: () => replay(device, update),
    bufferOf,
    times: () => timesOf(device, [...pass, ...update]),
    dispose() {
      for (const buffer of [...shared, ...own.values(), ...sizes.values()]) buffer.destroy()
    },
  }
}

/** Said here in words; the device would refuse the work later, and be taken for a lost one. */
function checkSizes(plan: Plan, { maxStorageBufferBindingSize: most }: GPUSupportedLimits): void {
  for (const { label, views } of [...plan.pass, ...plan.update]) {
    const largest = Math.max(...views.map(bytesIn))
    if (largest > most) throw tooLarge(`${label} takes ${largest} bytes at once, and this GPU gives ${most}`)
  }
}

/** A call ready to be encoded. */
interface Bound {
  readonly pipeline: GPUComputePipeline
  readonly group: GPUBindGroup
  readonly call: Call
}

function bound(
  device: GPUDevice,
  call: Call,
  pipeline: GPUComputePipeline | undefined,
  bufferOf: (tensor: Tensor) => GPUBuffer,
  sizesOf: (kernel: Kernel) => GPUBuffer,
): Bound {
  if (!pipeline) throw new Error(`internal: no pipeline for ${call.label}`)
  const entries: GPUBindGroupEntry[] = call.views.map((view, binding) => {
    const offset = view.offset * bytesOf(view.tensor.element)
    return { binding, resource: { buffer: bufferOf(view.tensor), offset, size: bytesIn(view) } }
  })
  if (call.kernel.constants.length > 0)
    entries.push({ binding: entries.length, resource: { buffer: sizesOf(call.kernel) } })
  const layout = pipeline.getBindGroupLayout(0)
  return { pipeline, group: device.createBindGroup({ label: call.label, layout, entries }), call }
}

function constantsBuffer(device: GPUDevice, constants: readonly number[]): GPUBuffer {
  const values = new Uint32Array(Math.ceil(constants.length / 4) * 4) // uniform buffers come in sixteens of bytes
  values.set(constants)
  const { UNIFORM, COPY_DST } = GPUBufferUsage
  const buffer = device.createBuffer({ size: values.byteLength, usage: UNIFORM | COPY_DST, label: 'sizes' })
  device.queue.writeBuffer(buffer, 0, values)
  return buffer
}

function replay(device: GPUDevice, calls: readonly Bound[]): void {
  const encoder = device.createCommandEncoder()
  const pass = encoder.beginComputePass()
  encode(pass, calls)
  pass.end()
  device.queue.submit([encoder.finish()])
}

function encode(pass: GPUComputePassEncoder, calls: readonly Bound[]): void {
  let last: GPUComputePipeline | null = null
  for (const { pipeline, group, call } of calls) {
    if (pipeline !== last) pass.setPipeline(pipeline)
    last = pipeline
    pass.setBindGroup(0, group)
    pass.dispatchWorkgroups(...call.kernel.groups)
  }
}

/** Chunks, because a query set has a largest size. */
const MOST_TIMED = 2_048

async function timesOf(device: GPUDevice, calls: readonly Bound[]): Promise<number[]> {
  if (!device.features.has('timestamp-query'))
    throw new Error('This device has no timestamps: its kernels cannot be timed one by one.')
  const times: number[] = []
  for (let from = 0; from < calls.length; from += MOST_TIMED)
    times.push(...(await timesOfChunk(device, calls.slice(from, from + MOST_TIMED))))
  return times
}

async function timesOfChunk(device: GPUDevice, calls: readonly Bound[]): Promise<number[]> {
  const [count, bytes] = [2 * calls.length, 16 * calls.length]
  const querySet = device.createQuerySet({ type: 'timestamp', count })
  const { QUERY_RESOLVE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage
  const resolved = device.createBuffer({ size: bytes, usage: QUERY_RESOLVE | COPY_SRC })
  const staging = device.createBuffer({ size: bytes, usage: MAP_READ | COPY_DST })
  const encoder = device.createCommandEncoder()
  for (const [i, call] of calls.entries()) {
    const timestampWrites = { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 }
    const pass = encoder.beginComputePass({ timestampWrites })
    encode(pass, [call])
    pass.end()
  }
  encoder.resolveQuerySet(querySet, 0, count, resolved, 0)
  encoder.copyBufferToBuffer(resolved, 0, staging, 0, bytes)
  device.queue.submit([encoder.finish()])
  await staging.mapAsync(GPUMapMode.READ)
  const stamps = new BigInt64Array(staging.getMappedRange().slice(0)) // nanoseconds
  for (const one of [querySet, resolved, staging]) one.destroy()
  return calls.map((_, i) => Number((stamps[2 * i + 1] ?? 0n) - (stamps[2 * i] ?? 0n)) / 1e6)
}

/** All of a plan's shaders, compiled at once. */
export async function pipelinesOf(
  { device, pipelines }: OpenDevice,
  plan: Plan,
  progress?: (progress: CompileProgress) => void,
): Promise<Map<string, GPUComputePipeline>> {
  const texts = new Map([...plan.pass, ...plan.update].map(({ kernel }) => [kernel.code, kernel.kind]))
  let done = 0
  const ready = [...texts].map(async ([code, label]) => {
    const wanted = pipelines.get(code) ?? compilePipeline(device, code, label)
    pipelines.set(code, wanted)
    const pipeline = await wanted
    progress?.({ done: ++done, of: texts.size })
    return [code, pipeline] as const
  })
  return new Map(await Promise.all(ready))
}

function compilePipeline(device: GPUDevice, code: string, label: string): Promise<GPUComputePipeline> {
  const module = device.createShaderModule({ code, label })
  return device.createComputePipelineAsync({ label, layout: 'auto', compute: { module, entryPoint: 'main' } })
}

/** Reads the first elements of buffers again and again through one staging buffer; one reading at a time. */
export function makeReader({ device }: Pick<OpenDevice, 'device'>, size: number) {
  const { MAP_READ, COPY_DST } = GPUBufferUsage
  const staging = device.createBuffer({ size: 4 * size, usage: MAP_READ | COPY_DST, label: 'reading' })
  return {
    /** As they are at this moment, whatever is submitted later. */
    async read(buffer: GPUBuffer): Promise<Float32Array<ArrayBuffer>> {
      const encoder = device.createCommandEncoder()
      encoder.copyBufferToBuffer(buffer, 0, staging, 0, 4 * size)
      device.queue.submit([encoder.finish()])
      await staging.mapAsync(GPUMapMode.READ)
      const values = new Float32Array(staging.getMappedRange().slice(0))
      staging.unmap()
      return values
    },
    dispose: () => staging.destroy(),
  }
}

/** Parts of buffers on the CPU, one after another: all are copied at this moment, whatever is submitted later. */
export async function readParts(
  { device }: Pick<OpenDevice, 'device'>,
  parts: readonly { buffer: GPUBuffer; offset: number; size: number }[],
): Promise<Float32Array<ArrayBuffer>> {
  const total = parts.reduce((sum, { size }) => sum + size, 0)
  if (total === 0) return new Float32Array()
  const { MAP_READ, COPY_DST } = GPUBufferUsage
  const staging = device.createBuffer({ size: 4 * total, usage: MAP_READ | COPY_DST, label: 'reading' })
  const encoder = device.createCommandEncoder()
  let to = 0
  for (const { buffer, offset, size } of parts) {
    encoder.copyBufferToBuffer(buffer, 4 * offset, staging, 4 * to, 4 * size)
    to += size
  }
  device.queue.submit([encoder.finish()])
  try {
    await staging.mapAsync(GPUMapMode.READ)
    return new Float32Array(staging.getMappedRange().slice(0))
  } finally {
    staging.destroy()
  }
}
