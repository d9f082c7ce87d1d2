/**
 * `npm run bench -- plan [--preset 35m] [--micro-batch 1] [--recompute] [--tflops 20] [--gbps 500] [--device gpu|cpu]`:
 * the compiled engine's training step on paper. Kernels, arithmetic, traffic, memory, and the time that a device of so many
 * f32 TFLOP/s and GB/s would need at least. Runs nothing.
 */
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { cpuChoices, gpuChoices } from '../../../shared/engine/compiled/choices.ts'
import { makeState } from '../../../shared/engine/compiled/state.ts'
import { trainingPlan } from '../../../shared/engine/compiled/step.ts'
import { type KindCost, type PlanSummary, summarise } from '../../../shared/engine/compiled/summary.ts'
import { PRESET_NAMES, PRESETS } from '../../../shared/model/config.ts'

const flagsSchema = z.strictObject({
  preset: z.enum(PRESET_NAMES),
  'micro-batch': z.coerce.number().int().min(1).max(4_096),
  recompute: z.boolean(),
  tflops: z.coerce.number().positive(),
  gbps: z.coerce.number().positive(),
  device: z.enum(['gpu', 'cpu']),
})

/** Called as the other suites are, though there is nothing to wait for. */
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
    },
  })
  const flags = flagsSchema.parse(values)
  const config = PRESETS[flags.preset]
  const plan = trainingPlan({
    state: makeState(config),
    sequences: flags['micro-batch'],
    choices: { gpu: gpuChoices(), cpu: cpuChoices() }[flags.device],
    recomputes: flags.recompute,
  })
  const summary = summarise(plan, { flops: 1e12 * flags.tflops, bandwidth: 1e9 * flags.gbps })
  const tokens = flags['micro-batch'] * config.sequenceLength
  return {
    rows: [...summary.kinds, summary.total].map(rowOf),
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

const rounded = (value: number, digits = 2) => Number(value.toFixed(digits))

const rowOf = ({ kind, calls, flops, bytes, seconds }: KindCost) => ({
  kind,
  calls,
  gflop: rounded(flops / 1e9),
  megabytes: rounded(bytes / 1e6),
  flopsPerByte: rounded(flops / bytes),
  msAtTheRoof: rounded(1_000 * seconds, 3),
})

const memoryRow = ({ memory }: PlanSummary) =>
  Object.fromEntries(
    Object.entries(memory).map(([name, bytes]) => [`${name}MiB`, rounded(bytes / 2 ** 20, 1)]),
  )
