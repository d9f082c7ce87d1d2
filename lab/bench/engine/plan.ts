/**
 * `npm run bench -- plan [--preset 35m] [--micro-batch 1] [--recompute] [--precision f32] [--tflops 20] [--gbps 500]
 * [--longest 0.5] [--device gpu|cpu] [--measure]`: the compiled engine's training step on paper. Kernels, arithmetic,
 * traffic, memory, and the time that a device of so many f32 TFLOP/s and GB/s would need at least; dispatches that would
 * take longer than so many seconds are split. With --measure also the time that this machine's GPU takes, kernel by
 * kernel, its share of those TFLOP/s, and JavaScript's time for a dispatch, in Node: VK_ICD_FILENAMES names its driver,
 * without it the GPU is SwiftShader.
 */
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { type Choices, cpuChoices, gpuChoices } from '../../../shared/engine/compiled/choices.ts'
import { withoutLongDispatches } from '../../../shared/engine/compiled/longDispatches.ts'
import { makeState } from '../../../shared/engine/compiled/state.ts'
import { trainingPlan } from '../../../shared/engine/compiled/step.ts'
import { type KindCost, type PlanSummary, summarise } from '../../../shared/engine/compiled/summary.ts'
import { PRESET_NAMES, PRESETS } from '../../../shared/model/config.ts'
import { type Measured, measurePlan } from './measurePlan.ts'

const flagsSchema = z.strictObject({
  preset: z.enum(PRESET_NAMES),
  'micro-batch': z.coerce.number().int().min(1).max(4_096),
  recompute: z.boolean(),
  precision: z.enum(['f32', 'f16']),
  tflops: z.coerce.number().positive(),
  gbps: z.coerce.number().positive(),
  longest: z.coerce.number().positive(),
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
      precision: { type: 'string', default: 'f32' },
      tflops: { type: 'string', default: '20' },
      gbps: { type: 'string', default: '500' },
      longest: { type: 'string', default: '0.5' },
      device: { type: 'string', default: 'gpu' },
      measure: { type: 'boolean', default: false },
    },
  })
  const flags = flagsSchema.parse(values)
  const config = PRESETS[flags.preset]
  const state = makeState(config)
  const base = { gpu: gpuChoices(), cpu: cpuChoices() }[flags.device]
  const choices: Choices = { ...base, states: flags.precision }
  const sequences = flags['micro-batch']
  const whole = trainingPlan({ state, sequences, choices, recomputes: flags.recompute })
  const roof = { flops: 1e12 * flags.tflops, bandwidth: 1e9 * flags.gbps }
  const plan = withoutLongDispatches(whole, roof, flags.longest)
  const measured = flags.measure ? await measurePlan(plan, state) : null
  const summary = summarise(plan, roof)
  const tokens = sequences * config.sequenceLength
  const callsOf = ({ pass, update }: typeof plan) => pass.length + update.length
  return {
    rows: [...summary.kinds, summary.total].map((cost) => rowOf(cost, flags.tflops, measured)),
    memory: [memoryRow(summary)],
    plan: [
      {
        preset: flags.preset,
        precision: flags.precision,
        tokens,
        shaders: summary.shaders,
        dispatchesPerLayer: whole.pass.filter(({ label }) => /^block 0\b/.test(label)).length,
        dispatches: callsOf(whole),
        splitInto: callsOf(plan),
        longestMs: rounded(1_000 * summary.total.longest, 3),
        tokensPerSecondAtTheRoof: Math.round(tokens / summary.total.seconds),
      },
    ],
    ...(measured && { javascript: measured.javascript }),
  }
}

const rounded = (value: number, digits = 2) => Number(value.toFixed(digits))

const rowOf = (
  { kind, calls, flops, bytes, seconds, longest }: KindCost,
  tflops: number,
  measured: Measured | null,
) => ({
  kind,
  calls,
  gflop: rounded(flops / 1e9),
  megabytes: rounded(bytes / 1e6),
  flopsPerByte: rounded(flops / bytes),
  msAtTheRoof: rounded(1_000 * seconds, 3),
  longestMs: rounded(1_000 * longest, 3),
  ...(measured?.milliseconds && timesOf(flops, measured.milliseconds.get(kind) ?? 0, tflops)),
})

const timesOf = (flops: number, ms: number, tflops: number) => ({
  ms: rounded(ms, 3),
  gflops: rounded(flops / 1e6 / ms, 1),
  shareOfPeak: rounded(flops / 1e9 / ms / tflops, 4),
})

const memoryRow = ({ memory }: PlanSummary) =>
  Object.fromEntries(
    Object.entries(memory).map(([name, bytes]) => [`${name}MiB`, rounded(bytes / 2 ** 20, 1)]),
  )
