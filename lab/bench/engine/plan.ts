/**
 * `npm run bench -- plan [--preset 35m] [--micro-batch 1] [--recompute] [--tflops 20] [--gbps 500] [--device gpu|cpu]
 * [--measure]`: the compiled engine's training step on paper. Kernels, arithmetic, traffic, memory, and the time that a
 * device of so many f32 TFLOP/s and GB/s would need at least. With --measure also the time that this machine's GPU takes,
 * kernel by kernel, in Node: VK_ICD_FILENAMES names its driver, without it the GPU is SwiftShader.
 */
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { cpuChoices, gpuChoices } from '../../../shared/engine/compiled/choices.ts'
import { openDevice } from '../../../shared/engine/compiled/device.ts'
import { compile } from '../../../shared/engine/compiled/executor.ts'
import { makeState, type State } from '../../../shared/engine/compiled/state.ts'
import { type TrainingPlan, trainingPlan } from '../../../shared/engine/compiled/step.ts'
import { type KindCost, type PlanSummary, summarise } from '../../../shared/engine/compiled/summary.ts'
import { installDawn, NO_DAWN } from '../../../shared/engine/tfjs/dawn.ts'
import { PRESET_NAMES, PRESETS } from '../../../shared/model/config.ts'

const flagsSchema = z.strictObject({
  preset: z.enum(PRESET_NAMES),
  'micro-batch': z.coerce.number().int().min(1).max(4_096),
  recompute: z.boolean(),
  tflops: z.coerce.number().positive(),
  gbps: z.coerce.number().positive(),
  device: z.enum(['gpu', 'cpu']),
  measure: z.boolean(),
})

export async function printPlan(args: string[]) {
  const { values } = parseArgs({
    args,
    options: {
      preset: { type: 'string', default: '35m' },
      'micro-batch': { type: 'string', default: '1' },
      recompute: { type: 'boolean', default: false },
      tflops: { type: 'string', default: '20' },
      gbps: { type: 'string', default: '500' },
      device: { type: 'string', default: 'gpu' },
      measure: { type: 'boolean', default: false },
    },
  })
  const flags = flagsSchema.parse(values)
  const config = PRESETS[flags.preset]
  const state = makeState(config)
  const choices = { gpu: gpuChoices(), cpu: cpuChoices() }[flags.device]
  const sequences = flags['micro-batch']
  const plan = trainingPlan({ state, sequences, choices, recomputes: flags.recompute })
  const times = flags.measure ? await measurePlan(plan, state) : null
  const summary = summarise(plan, { flops: 1e12 * flags.tflops, bandwidth: 1e9 * flags.gbps })
  const tokens = sequences * config.sequenceLength
  return {
    rows: [...summary.kinds, summary.total].map((cost) => rowOf(cost, times)),
    memory: [memoryRow(summary)],
    plan: [
      {
        preset: flags.preset,
        tokens,
        shaders: summary.shaders,
        dispatchesPerLayer: plan.pass.filter(({ label }) => /^block 0\b/.test(label)).length,
        tokensPerSecondAtTheRoof: Math.round(tokens / summary.total.seconds),
      },
    ],
  }
}

/** Milliseconds by kind, and of all. */
type Times = ReadonlyMap<string, number>

/** The second of two runs on small numbers that are all different: the first one warms up. */
async function measurePlan(plan: TrainingPlan, state: State): Promise<Times> {
  if ((await installDawn()) === null) throw new Error(NO_DAWN)
  const open = await openDevice()
  const executable = await compile(open, plan, new Map())
  const some = (size: number) =>
    Float32Array.from({ length: size }, (_, i) => ((i * 7_919) % 1_009) / 25_000 - 0.02)
  const { queue } = open.device
  for (const tensor of state.parameters) queue.writeBuffer(executable.bufferOf(tensor), 0, some(tensor.size))
  queue.writeBuffer(executable.bufferOf(state.numbers), 0, Float32Array.of(1, 0, 1, 1e-3))
  executable.begin()
  await executable.times()
  const milliseconds = await open.guard(executable.times)
  const times = new Map<string, number>([['all', milliseconds.reduce((sum, ms) => sum + ms, 0)]])
  for (const [i, { kernel }] of [...plan.pass, ...plan.update].entries())
    times.set(kernel.kind, (times.get(kernel.kind) ?? 0) + (milliseconds[i] ?? 0))
  return times
}

const rounded = (value: number, digits = 2) => Number(value.toFixed(digits))

const rowOf = ({ kind, calls, flops, bytes, seconds }: KindCost, times: Times | null) => ({
  kind,
  calls,
  gflop: rounded(flops / 1e9),
  megabytes: rounded(bytes / 1e6),
  flopsPerByte: rounded(flops / bytes),
  msAtTheRoof: rounded(1_000 * seconds, 3),
  ...(times && {
    ms: rounded(times.get(kind) ?? 0, 3),
    gflops: rounded(flops / 1e6 / (times.get(kind) ?? 0), 1),
  }),
})

const memoryRow = ({ memory }: PlanSummary) =>
  Object.fromEntries(
    Object.entries(memory).map(([name, bytes]) => [`${name}MiB`, rounded(bytes / 2 ** 20, 1)]),
  )
