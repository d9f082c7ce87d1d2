/**
 * One replica on the device: parameters, moments, gradients and the plans that work on them. Reads and writes of the flat
 * order of model/layout.ts; what it does in a job is train.ts's, what else infer.ts's.
 */
import type { ModelConfig } from '../../model/config.ts'
import { type ParameterRange, parameterCount } from '../../model/layout.ts'
import type { OptimiserState } from '../engine.ts'
import type { OpenDevice } from '../gpuDevice.ts'
import type { Choices } from './choices.ts'
import { type Memory, makeReader, newBuffer, readParts } from './executor.ts'
import { type Speed, UNMEASURED } from './longDispatches.ts'
import { bytesIn, type Tensor } from './plan.ts'
import { makeState, pieces, rotationTables, type State } from './state.ts'

export interface Replica {
  readonly config: ModelConfig
  readonly open: OpenDevice
  readonly choices: Choices
  /** How fast the device was measured to be. */
  readonly speed: Speed
  readonly state: State
  readonly memory: Memory
  /** Of the meter: [4]. */
  readonly meter: ReturnType<typeof makeReader>
  /** Number of updates behind the moments. */
  updates: number
}

export function makeReplica(
  config: ModelConfig,
  open: OpenDevice,
  choices: Choices,
  speed: Speed = UNMEASURED,
): Replica {
  const state = makeState(config, open.device.limits.maxStorageBufferBindingSize / 4)
  const { parameters, gradients, firstMoments, secondMoments, cosines, sines, numbers, meter } = state
  const tensors = [
    parameters,
    gradients,
    firstMoments,
    secondMoments,
    [cosines, sines, numbers, meter],
  ].flat()
  const memory = new Map(tensors.map((tensor) => [tensor, newBuffer(open, bytesIn(tensor), tensor.name)]))
  const reader = makeReader(open, meter.size)
  const replica = { config, open, choices, speed, state, memory, meter: reader, updates: 0 }
  const tables = rotationTables(config)
  open.device.queue.writeBuffer(bufferOf(replica, cosines), 0, tables.cosines)
  open.device.queue.writeBuffer(bufferOf(replica, sines), 0, tables.sines)
  return replica
}

export function bufferOf({ memory }: Replica, tensor: Tensor): GPUBuffer {
  const buffer = memory.get(tensor)
  if (!buffer) throw new Error(`internal: ${tensor.name} has no buffer`)
  return buffer
}

export const wholeOf = (config: ModelConfig): ParameterRange[] => [
  { offset: 0, size: parameterCount(config) },
]

/** Of one kind of tensors, e.g. the parameters. */
export function write(
  replica: Replica,
  of: readonly Tensor[],
  values: Float32Array,
  ranges: readonly ParameterRange[],
): void {
  for (const { segment, offset, size, at } of pieces(replica.state, ranges)) {
    const buffer = bufferOf(replica, of[segment] as Tensor) // segments that exist
    // Of any buffer, which the types do not let through: its bytes are copied in this call.
    const whole = values as Float32Array<ArrayBuffer>
    replica.open.device.queue.writeBuffer(buffer, 4 * offset, whole, at, size)
  }
}

/** As they are at this moment, whatever is submitted later. */
export function read(
  replica: Replica,
  of: readonly Tensor[],
  ranges: readonly ParameterRange[],
): Promise<Float32Array<ArrayBuffer>> {
  const parts = pieces(replica.state, ranges).map(({ segment, offset, size }) => {
    return { buffer: bufferOf(replica, of[segment] as Tensor), offset, size } // segments that exist
  })
  return readParts(replica.open, parts)
}

export async function readOptimiser(replica: Replica): Promise<OptimiserState> {
  const { state, config, updates } = replica
  const [firstMoment, secondMoment] = await Promise.all([
    read(replica, state.firstMoments, wholeOf(config)),
    read(replica, state.secondMoments, wholeOf(config)),
  ])
  return { firstMoment, secondMoment, updates }
}

export function writeOptimiser(replica: Replica, from: OptimiserState): void {
  const { state, config } = replica
  write(replica, state.firstMoments, from.firstMoment, wholeOf(config))
  write(replica, state.secondMoments, from.secondMoment, wholeOf(config))
  replica.updates = from.updates
}

export function disposeReplica({ memory, meter }: Replica): void {
  meter.dispose()
  for (const buffer of memory.values()) buffer.destroy()
}
