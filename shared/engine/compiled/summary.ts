/** What a plan costs, before anything runs: kernel by kernel, and the time that the hardware's limits would allow. */
import { type Speed, secondsOf } from './longDispatches.ts'
import { bytesIn, bytesMoved, type Call, keptTensors, type Plan, place } from './plan.ts'

export interface KindCost {
  readonly kind: string
  /** Dispatches in a step of one micro-batch. */
  readonly calls: number
  readonly flops: number
  readonly bytes: number
  /** Seconds at the roof: each call takes the longer of its arithmetic and its traffic. */
  readonly seconds: number
  /** Of these, those of the longest call. */
  readonly longest: number
}

export interface PlanSummary {
  readonly kinds: readonly KindCost[]
  readonly total: KindCost
  /** Different shaders. */
  readonly shaders: number
  readonly memory: PlanMemory
}

/** Bytes. */
export interface PlanMemory {
  readonly kept: number
  /** What scratch tensors share. */
  readonly scratch: number
  /** What they would take if each had a buffer of its own. */
  readonly unshared: number
  /** Kept and scratch. */
  readonly peak: number
}

export function summarise(plan: Plan, roof: Speed): PlanSummary {
  const calls = [...plan.pass, ...plan.update]
  const kinds = new Map<string, KindCost>()
  for (const call of calls) {
    const { kind } = call.kernel
    kinds.set(kind, add(kinds.get(kind) ?? none(kind), costOf(call, roof)))
  }
  return {
    kinds: [...kinds.values()].sort((a, b) => b.seconds - a.seconds),
    total: [...kinds.values()].reduce((sum, cost) => add(sum, cost), none('all')),
    shaders: new Set(calls.map(({ kernel }) => kernel.code)).size,
    memory: memoryOf(plan),
  }
}

const none = (kind: string): KindCost => ({ kind, calls: 0, flops: 0, bytes: 0, seconds: 0, longest: 0 })

const add = (a: KindCost, b: KindCost): KindCost => ({
  kind: a.kind,
  calls: a.calls + b.calls,
  flops: a.flops + b.flops,
  bytes: a.bytes + b.bytes,
  seconds: a.seconds + b.seconds,
  longest: Math.max(a.longest, b.longest),
})

function costOf(call: Call, roof: Speed): KindCost {
  const [flops, bytes] = [call.kernel.flops, bytesMoved(call)]
  const seconds = secondsOf(call, roof)
  return { kind: call.kernel.kind, calls: 1, flops, bytes, seconds, longest: seconds }
}

export function memoryOf(plan: Plan): PlanMemory {
  const { buffers, of } = place(plan)
  const kept = [...keptTensors(plan)].reduce((sum, tensor) => sum + bytesIn(tensor), 0)
  const scratch = buffers.reduce((sum, size) => sum + size, 0)
  const unshared = [...of.keys()].reduce((sum, tensor) => sum + bytesIn(tensor), 0)
  return { kept, scratch, unshared, peak: kept + scratch }
}
