/** A plan on this machine's GPU, in Node: each kernel's time by timestamps, and what JavaScript takes to dispatch it. */

import { compile, type Executable } from '../../../shared/engine/compiled/executor.ts'
import { stepNumbers } from '../../../shared/engine/compiled/kernels/crossEntropy.ts'
import type { State } from '../../../shared/engine/compiled/state.ts'
import type { TrainingPlan } from '../../../shared/engine/compiled/step.ts'
import { type OpenDevice, openDevice } from '../../../shared/engine/gpuDevice.ts'
import { installDawn, NO_DAWN } from '../../../shared/engine/tfjs/dawn.ts'

export interface Measured {
  /** By kind, and of all; null where the device has no timestamps. */
  readonly milliseconds: ReadonlyMap<string, number> | null
  readonly javascript: readonly JavaScriptRow[]
}

interface JavaScriptRow {
  readonly gpu: string
  readonly dispatches: number
  /** Of JavaScript's time until a step is submitted; the GPU was idle before, and is not waited for. */
  readonly microsecondsPerDispatch: number
}

/** Steps whose JavaScript is timed, and those before them in which its compiler warms up. */
const [STEPS, WARM_UPS] = [10, 10]
/** A step on a slow GPU may take many seconds, and only its JavaScript is timed: after this, one more is enough. */
const PATIENCE_MS = 5_000

export async function measurePlan(plan: TrainingPlan, state: State): Promise<Measured> {
  // Dawn's null backend computes nothing: what is left is JavaScript's and Dawn's own.
  const onNothing = await onDevice(['backend=null'], (open) => javascriptOf(open, plan))
  const [milliseconds, onGpu] = await onDevice([], async (open) => {
    if (usesHalves(plan) && !open.features.f16)
      throw new Error('This GPU has no 16-bit floats: measure with --precision f32.')
    const times = open.device.features.has('timestamp-query') ? await timesOf(open, plan, state) : null
    return [times, await javascriptOf(open, plan)] as const
  })
  return { milliseconds, javascript: [onNothing, onGpu] }
}

async function onDevice<T>(options: string[], work: (open: OpenDevice) => Promise<T>): Promise<T> {
  const dawn = await installDawn(options)
  if (dawn === null) throw new Error(NO_DAWN)
  const open = await openDevice()
  try {
    return await work(open)
  } finally {
    open.release()
    dawn.close()
  }
}

const usesHalves = ({ pass }: TrainingPlan) =>
  pass.some(({ views }) => views.some(({ tensor }) => tensor.element === 'f16'))

/** The second of two runs on small numbers that are all different: the first one warms up. */
async function timesOf(open: OpenDevice, plan: TrainingPlan, state: State): Promise<Map<string, number>> {
  const executable = await compile(open, plan, new Map())
  const some = (size: number) =>
    Float32Array.from({ length: size }, (_, i) => ((i * 7_919) % 1_009) / 25_000 - 0.02)
  const { queue } = open.device
  for (const tensor of state.parameters) queue.writeBuffer(executable.bufferOf(tensor), 0, some(tensor.size))
  const numbers = stepNumbers({ keep: 1, rate: 0, unbias: 1, rows: 1_000 }, 'f32')
  queue.writeBuffer(executable.bufferOf(state.numbers), 0, numbers)
  executable.begin()
  await executable.times()
  const milliseconds = await open.guard(executable.times)
  executable.dispose()
  const times = new Map<string, number>([['all', milliseconds.reduce((sum, ms) => sum + ms, 0)]])
  for (const [i, { kernel }] of [...plan.pass, ...plan.update].entries())
    times.set(kernel.kind, (times.get(kernel.kind) ?? 0) + (milliseconds[i] ?? 0))
  return times
}

/** The median of some steps. */
async function javascriptOf(open: OpenDevice, plan: TrainingPlan): Promise<JavaScriptRow> {
  const executable = await compile(open, plan, new Map())
  const taken: number[] = []
  const until = performance.now() + PATIENCE_MS
  for (let step = 0; step < WARM_UPS + STEPS; step++) {
    const hurries = performance.now() > until
    const milliseconds = stepOf(executable)
    if (step >= WARM_UPS || hurries) taken.push(milliseconds)
    if (hurries) break
    await open.guard(() => open.device.queue.onSubmittedWorkDone())
  }
  executable.dispose()
  const dispatches = plan.pass.length + plan.update.length
  const median = taken.sort((a, b) => a - b)[Math.floor(taken.length / 2)] ?? Number.NaN
  const microsecondsPerDispatch = Number(((1_000 * median) / dispatches).toFixed(2))
  return { gpu: open.name, dispatches, microsecondsPerDispatch }
}

function stepOf(executable: Executable): number {
  const from = performance.now()
  executable.begin()
  executable.pass()
  executable.update()
  return performance.now() - from
}
