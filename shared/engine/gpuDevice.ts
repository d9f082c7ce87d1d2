/**
 * The one GPU device of this page, Worker or process: asked for with the largest limits the adapter has, shared by all
 * engines, the compiled one and TensorFlow.js, watched for its death, and given back when the last of them is disposed.
 */
import { EngineError } from './engine.ts'

export interface OpenDevice {
  readonly device: GPUDevice
  readonly info: GPUAdapterInfo
  /** Whether it is a program on the CPU. */
  readonly software: boolean
  /** Names the adapter, for what is remembered of it. */
  readonly name: string
  /** What kernels may use besides what every device has. */
  readonly features: Features
  /** Resolves with the reason when the device has died or refused work; never rejects. */
  readonly lost: Promise<EngineError>
  /** Does `work`, and rejects at once with `engine/device-lost` when the device dies. */
  guard<T>(work: () => Promise<T>): Promise<T>
  /** Pipelines by their shader's text. */
  readonly pipelines: Map<string, Promise<GPUComputePipeline>>
  /** Says that one who asked for it needs it no more. */
  release(): void
}

export interface Features {
  /** 16-bit floats in memory and arithmetic, `shader-f16`. */
  readonly f16: boolean
  /** Sums over threads that run together, `subgroups`. */
  readonly subgroups: boolean
}

/** Asked for where the adapter has them. Timestamps are for measuring kernels one by one; nothing else uses them. */
const WANTED = ['shader-f16', 'subgroups', 'timestamp-query'] as const

/** Devices that were destroyed because nobody needed them: that is no loss. */
const givenBack = new WeakSet<GPUDevice>()

let current: { opened: Promise<OpenDevice>; users: number } | null = null

/** @throws EngineError `engine/backend-missing` */
export async function openDevice(): Promise<OpenDevice> {
  current ??= { opened: request(), users: 0 }
  const mine = current
  mine.users++
  const forget = () => {
    if (current === mine) current = null
  }
  try {
    const opened = await mine.opened
    void opened.lost.then(forget)
    let released = false
    const release = () => {
      if (released) return
      released = true
      if (--mine.users > 0) return
      forget()
      givenBack.add(opened.device)
      opened.device.destroy()
    }
    return { ...opened, release }
  } catch (error) {
    forget()
    throw error
  }
}

const missing = (why: string) =>
  new EngineError('engine/backend-missing', `The webgpu backend is not available: ${why}.`)

/** The compiled engine binds whole models; TensorFlow.js's kernels want the rest. */
const LARGEST = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxComputeWorkgroupStorageSize',
  'maxComputeWorkgroupsPerDimension',
  'maxComputeWorkgroupSizeX',
  'maxComputeInvocationsPerWorkgroup',
] as const

async function request(): Promise<OpenDevice> {
  const adapter = await globalThis.navigator?.gpu?.requestAdapter({ powerPreference: 'high-performance' })
  if (!adapter) throw missing('this browser has no WebGPU, or no GPU for it')
  const { limits, info } = adapter
  const device = await adapter
    .requestDevice({
      requiredFeatures: WANTED.filter((feature) => adapter.features.has(feature)),
      requiredLimits: Object.fromEntries(LARGEST.map((limit) => [limit, limits[limit]])),
    })
    .catch((error: unknown) => {
      throw missing(`no device was given: ${String(error)}`)
    })
  const lost = watch(device)
  const rejection = lost.then((reason) => Promise.reject(reason))
  rejection.catch(() => {}) // nobody may be waiting when it happens; whoever asks later still gets the reason
  return {
    device,
    info,
    software:
      info.isFallbackAdapter ||
      /swiftshader|llvmpipe|basic render/i.test(`${info.architecture} ${info.device} ${info.description}`),
    name: [info.vendor, info.architecture, info.device, info.description].join('/'),
    features: {
      f16: device.features.has('shader-f16'),
      subgroups: device.features.has('subgroups'),
    },
    lost,
    guard: (work) =>
      Promise.race([rejection, work()]).catch((error: unknown) => {
        throw error instanceof DOMException ? unreadable(error) : error
      }),
    pipelines: new Map(),
    release() {},
  }
}

/** A read that the GPU API itself breaks off; on a dying device this can arrive before the news of its death. */
const unreadable = ({ message }: DOMException) =>
  new EngineError('engine/device-lost', `The GPU device did not hand over its results: ${message}`)

function watch(device: GPUDevice): Promise<EngineError> {
  return new Promise((resolve) => {
    const end = (what: string) => resolve(new EngineError('engine/device-lost', what))
    void device.lost.then(({ reason, message }) => {
      if (!givenBack.has(device)) end(`The GPU device was lost (${reason}): ${message}`)
    })
    device.addEventListener('uncapturederror', (event) => end(`The GPU refused work: ${event.error.message}`))
  })
}
