/**
 * Finds the inner learning rate, the batch and the outer learning rate of one method, one after the other as in "Scaling Laws for
 * DiLoCo" (arXiv 2503.09799, section 3), on the second of the sizes: the smallest leaves the plateau of word frequencies by
 * chance, and what it prefers is noise. Rates go over powers of √2 until the best has a worse one on either side, and are sought
 * again on the other small sizes from there; they carry over to the larger ones by a power law.
 */

import type { ModelConfig } from '../../shared/model/config.ts'
import { parameterCount } from '../../shared/model/layout.ts'
import { fitAlone, predicted } from '../scaling/fit.ts'
import { baseSpec, type Scale } from './scale.ts'
import type { Outcome, Spec } from './spec.ts'

/** What does runs: the workshop, or a test's function. */
export interface Runner {
  run(spec: Spec): Promise<Pick<Outcome, 'loss'>>
}

export interface Tuned {
  /** M; null is data parallelism. */
  readonly replicas: number | null
  readonly batch: number
  readonly outerLearningRate: number
  /** By parameters, those that were tuned. */
  readonly rates: readonly { readonly n: number; readonly rate: number }[]
  /** Likewise, the best by itself; the larger sizes have the second's. */
  readonly batches: readonly { readonly n: number; readonly batch: number }[]
}

/** Sizes on which the inner rate is tuned. */
const TUNED_SIZES = 3
/** Powers of √2 about the first rate that are tried at first: far apart, so that a dip of chance does not hold the walk. */
const COARSE = [-2, 0, 2]
const FURTHEST = 8

export async function tune(
  runner: Runner,
  scale: Scale,
  replicas: number | null,
  codec: Spec['codec'],
): Promise<Tuned> {
  const [smallest, ...larger] = scale.models.slice(0, TUNED_SIZES)
  if (!smallest) throw new RangeError('There is no model to tune.')
  const [middle = smallest, ...largest] = larger
  let spec = await bestRate(runner, baseSpec(scale, middle, replicas, codec), COARSE)
  spec = await bestBatch(runner, spec, scale)
  if (replicas !== null) {
    const rates = [...new Set([spec.outerLearningRate, ...scale.outerLearningRates])]
    spec = await best(
      runner,
      rates.map((outerLearningRate) => ({ ...spec, outerLearningRate })),
    )
  }
  spec = await bestRate(runner, spec, [0])
  const on = (model: ModelConfig): Spec => ({
    ...spec,
    model,
    tokens: baseSpec(scale, model, replicas, codec).tokens,
  })
  const rateOn = async (model: ModelConfig) => {
    const found = model === middle ? spec : await bestRate(runner, on(model), [0])
    return { n: parameterCount(model), rate: found.innerLearningRate }
  }
  const rates = await Promise.all([...new Set([smallest, middle]), ...largest].map(rateOn))
  const batches = [{ n: parameterCount(middle), batch: spec.batch }]
  const small = rates.find(({ n }) => n === parameterCount(smallest))
  if (smallest !== middle && small) {
    const tuned = { ...on(smallest), innerLearningRate: small.rate }
    batches.unshift({ n: small.n, batch: (await bestBatch(runner, tuned, scale)).batch })
  }
  return { replicas, batch: spec.batch, outerLearningRate: spec.outerLearningRate, rates, batches }
}

/** The run of a size with what was tuned. */
export function tunedSpec(scale: Scale, model: ModelConfig, tuned: Tuned, codec: Spec['codec']): Spec {
  const { replicas, batch, outerLearningRate } = tuned
  const innerLearningRate = rateFor(tuned, parameterCount(model))
  return { ...baseSpec(scale, model, replicas, codec), batch, outerLearningRate, innerLearningRate }
}

/** As tuned; else by the power law, never more than at the largest tuned size: one that grows with N is noise. */
export function rateFor({ rates }: Pick<Tuned, 'rates'>, n: number): number {
  const known = rates.find((one) => one.n === n)
  const last = rates.at(-1)
  if (!last) throw new RangeError('Nothing was tuned.')
  if (known || rates.length < 2) return (known ?? last).rate
  const law = fitAlone(rates.map((one) => ({ n: one.n, m: 1, y: one.rate })))
  return Math.min(last.rate, predicted(law, n, 1))
}

/** From the smallest batch on, each at a rate that grows with the root, for as long as they are better. */
async function bestBatch(runner: Runner, tuned: Spec, { batches }: Scale): Promise<Spec> {
  let found: { spec: Spec; loss: number } | null = null
  for (const batch of batches.filter((one) => one % (tuned.replicas ?? 1) === 0)) {
    const innerLearningRate = onGrid(tuned.innerLearningRate * Math.sqrt(batch / tuned.batch))
    const spec = { ...tuned, batch, innerLearningRate }
    const { loss } = await runner.run(spec)
    if (found && loss >= found.loss) break
    found = { spec, loss }
  }
  return found?.spec ?? tuned
}

/** The nearest power of √2, in thousandths: what is tried from several sides is one run. */
function onGrid(rate: number): number {
  const power = Math.round(2 * Math.log2(rate * 1_000))
  return Number((2 ** (power / 2) / 1_000).toPrecision(6))
}

async function best(runner: Runner, specs: readonly Spec[]): Promise<Spec> {
  const losses = await Promise.all(specs.map(async (spec) => ({ spec, loss: (await runner.run(spec)).loss })))
  return losses.reduce((least, one) => (one.loss < least.loss ? one : least)).spec
}

/** The best of rate · √2^k, with a worse neighbour on either side. */
export function bestRate(runner: Runner, spec: Spec, first: readonly number[]): Promise<Spec> {
  const line = Array.from({ length: 2 * FURTHEST + 1 }, (_, i) => ({
    ...spec,
    innerLearningRate: onGrid(spec.innerLearningRate * 2 ** ((i - FURTHEST) / 2)),
  }))
  const places = first.map((k) => k + FURTHEST)
  return bestAlong(line, places, async (one) => (await runner.run(one)).loss)
}

/** The best of a line: walks from the best of the places `first` until it has a worse neighbour on either side, or the line ends. */
export async function bestAlong<One>(
  line: readonly One[],
  first: readonly number[],
  lossOf: (one: One) => Promise<number>,
): Promise<One> {
  const losses = new Map<number, number>()
  for (let missing = first; ; ) {
    await Promise.all(missing.map(async (i) => losses.set(i, await lossOf(line[i] as One)))) // it is in the line
    const [best] = [...losses].reduce((low, one) => (one[1] < low[1] ? one : low))
    missing = [best - 1, best + 1].filter((i) => i >= 0 && i < line.length && !losses.has(i))
    if (missing.length === 0) return line[best] as One
  }
}
