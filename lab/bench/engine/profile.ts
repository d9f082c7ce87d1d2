/**
 * `npm run bench -- profile [--preset micro] [--steps 10]`: where a step of our engine goes on wasm in Node, kernel by
 * kernel. Each row has its own time only, without that of what it calls; `K:` are TensorFlow.js's own.
 */
import { parseArgs } from 'node:util'
import * as tf from '@tensorflow/tfjs-core'
import { z } from 'zod'
import { KERNELS, OPTIMISERS } from '../../../shared/engine/tfjs/createTfjsEngine.ts'
import { nodeWasmPaths } from '../../../shared/engine/tfjs/nodeWasmPaths.ts'
import { PRESET_NAMES, PRESETS } from '../../../shared/model/config.ts'
import { initialParameters } from '../../../shared/model/initial.ts'
import { openOurs } from './ours.ts'
import { batchOf, RECIPE, randomSequences } from './suite.ts'

const flagsSchema = z.strictObject({
  preset: z.enum(PRESET_NAMES),
  steps: z.coerce.number().int().min(1).max(1_000),
})

export async function profileEngine(args: string[]) {
  const { values } = parseArgs({
    args,
    options: { preset: { type: 'string', default: 'micro' }, steps: { type: 'string', default: '10' } },
  })
  const { preset, steps } = flagsSchema.parse(values)
  const clock = new SelfTimes()
  clock.watchAll(KERNELS.wasm)
  const { wasm: makeOptimiser } = OPTIMISERS
  OPTIMISERS.wasm = (layout) => {
    const optimiser = makeOptimiser(layout)
    clock.watch(optimiser, 'step', () => 'AdamW')
    return optimiser
  }
  const [config, batch] = [PRESETS[preset], batchOf(preset)]
  const parameters = initialParameters(config, 'bench')
  const ours = await openOurs({ config, backend: 'wasm', batch, parameters, recipe: RECIPE }, nodeWasmPaths())
  clock.watch(tf.engine(), 'runKernel', (name) => `K:${String(name)}`)
  const sequences = randomSequences(preset, batch)
  for (let step = 0; step < 3; step++) await ours.step(sequences, step)
  clock.reset()
  const from = performance.now()
  for (let step = 3; step < 3 + steps; step++) await ours.step(sequences, step)
  const total = (performance.now() - from) / steps
  ours.dispose()
  return { rows: clock.rows(steps, total), total: [{ preset, batch, msPerStep: round(total) }] }
}

type Callable = (...args: unknown[]) => unknown

/** Time spent in functions, each without the watched functions it calls. */
class SelfTimes {
  readonly #times = new Map<string, { milliseconds: number; calls: number }>()
  /** Of the calls under way: what their callees took. */
  readonly #inner: number[] = []

  watchAll(owner: object): void {
    for (const name of Object.keys(owner)) this.watch(owner, name, () => name)
  }

  watch(owner: object, name: string, label: (firstArgument: unknown) => string): void {
    const methods = owner as Record<string, Callable> // the caller names a method
    const method = methods[name] as Callable
    const run = (call: () => unknown, key: string) => this.#timed(call, key)
    methods[name] = function (this: unknown, ...args: unknown[]) {
      return run(() => method.apply(this, args), label(args[0]))
    }
  }

  #timed(call: () => unknown, key: string): unknown {
    this.#inner.push(0)
    const from = performance.now()
    const result = call()
    const took = performance.now() - from
    const inner = this.#inner.pop() ?? 0
    const outer = this.#inner.length - 1
    if (outer >= 0) this.#inner[outer] = (this.#inner[outer] ?? 0) + took
    const { milliseconds, calls } = this.#times.get(key) ?? { milliseconds: 0, calls: 0 }
    this.#times.set(key, { milliseconds: milliseconds + took - inner, calls: calls + 1 })
    return result
  }

  reset(): void {
    this.#times.clear()
  }

  rows(steps: number, total: number): object[] {
    const rows = [...this.#times].map(([kernel, { milliseconds, calls }]) => ({
      kernel,
      calls: round(calls / steps),
      msPerStep: round(milliseconds / steps),
      share: round(milliseconds / steps / total),
    }))
    const rest = total - rows.reduce((sum, { msPerStep }) => sum + msPerStep, 0)
    rows.push({ kernel: 'between them', calls: 1, msPerStep: round(rest), share: round(rest / total) })
    return rows.sort((a, b) => b.msPerStep - a.msPerStep)
  }
}

const round = (value: number) => Number(value.toFixed(3))
