/**
 * Dispatches that would take too long are split. A driver that gets no answer for about two seconds resets the device, and
 * until a dispatch ends nothing else is drawn. A part computes the same workgroups in the same way, so a split plan
 * gives the same bits.
 */
import type { Groups } from './kernel.ts'
import { bytesMoved, type Call, type Plan } from './plan.ts'

/** What a device does, as measured or supposed. */
export interface Speed {
  /** Floating-point operations a second, a multiply-add counted as two. */
  readonly flops: number
  /** Bytes a second to and from memory. */
  readonly bandwidth: number
}

/** Of a dispatch. */
export const LONGEST_SECONDS = 0.5
/**
 * How much longer a dispatch may take than its arithmetic and its traffic at the measured speed: attention, which is no
 * product, reaches a third of a product's speed, and a device that others use too is slower at times.
 */
const CAUTION = 4
/** Where nothing was measured, because the model is tiny: one core of a slow CPU. */
export const UNMEASURED: Speed = { flops: 1e9, bandwidth: 1e9 }

/** Each call takes the longer of its arithmetic and its traffic. */
export function secondsOf(call: Call, { flops, bandwidth }: Speed): number {
  return Math.max(call.kernel.flops / flops, bytesMoved(call) / bandwidth)
}

/** The plan with its long dispatches split, as far as their workgroups go. */
export function withoutLongDispatches<P extends Plan>(plan: P, speed: Speed, longest = LONGEST_SECONDS): P {
  const split = (calls: readonly Call[]) =>
    calls.flatMap((call) => partsOf(call, Math.ceil((CAUTION * secondsOf(call, speed)) / longest)))
  return { ...plan, pass: split(plan.pass), update: split(plan.update) }
}

function partsOf(call: Call, count: number): Call[] {
  if (count <= 1) return [call]
  const boxes = boxesOf(call.kernel.groups, count)
  return boxes.map(({ first, groups }, i) => ({
    ...call,
    label: `${call.label}, part ${i + 1} of ${boxes.length}`,
    kernel: call.kernel.part(first, groups),
  }))
}

interface Box {
  readonly first: Groups
  readonly groups: Groups
}

/** At least `count` boxes where there are so many workgroups; slices along z before y before x. */
function boxesOf([x, y, z]: Groups, count: number): Box[] {
  const slicesZ = Math.min(z, count)
  const slicesY = Math.min(y, Math.ceil(count / slicesZ))
  const slicesX = Math.min(x, Math.ceil(count / slicesZ / slicesY))
  return slices(z, slicesZ).flatMap((inZ) =>
    slices(y, slicesY).flatMap((inY) =>
      slices(x, slicesX).map((inX): Box => {
        return { first: [inX.from, inY.from, inZ.from], groups: [inX.size, inY.size, inZ.size] }
      }),
    ),
  )
}

function slices(length: number, count: number) {
  return Array.from({ length: count }, (_, i) => {
    const from = Math.floor((i * length) / count)
    return { from, size: Math.floor(((i + 1) * length) / count) - from }
  })
}
