/** How large the training experiments are: the ladder of models and what is common to all runs. In full, quick, or tiny for tests. */

import { z } from 'zod'
import { CODEC_NAMES } from '../../shared/codec/codec.ts'
import type { ModelConfig } from '../../shared/model/config.ts'
import { parameterCount } from '../../shared/model/layout.ts'
import type { Spec } from './spec.ts'

export interface Scale {
  readonly name: 'full' | 'quick' | 'tiny'
  /** From small to large. */
  readonly models: readonly ModelConfig[]
  /** Of a parameter; the paper's is 20. */
  readonly tokensAParameter: number
  readonly innerSteps: number
  /** Where tuning begins, and what it tries. */
  readonly batches: readonly number[]
  readonly innerLearningRate: number
  readonly outerLearningRates: readonly number[]
  readonly heldOutTokens: number
  /** By model. The large ones take most of the time: fewer there. */
  readonly seeds: readonly number[]
}

const model = (
  [layers, heads, dModel, hidden]: readonly [number, number, number, number],
  vocabSize: number,
  sequenceLength: number,
): ModelConfig => ({ vocabSize, layers, heads, dModel, headDim: dModel / heads, hidden, sequenceLength })

/**
 * 20,560 to 172,480 parameters; the last is the preset `nano` but for its sequences. One epoch of the corpus is 3.6 M tokens: 20 N of the largest.
 * They are half as long as nano's, so that eight replicas can share a batch of 256 tokens: with that the smallest
 * size has 54 outer steps. With 14, batches of 1,024 tokens, no DiLoCo run of it leaves the plateau where it knows nothing
 * but how frequent tokens are.
 */
const FULL: Scale = {
  name: 'full',
  models: [
    model([1, 1, 16, 64], 1_024, 32),
    model([1, 2, 32, 128], 1_024, 32),
    model([2, 2, 40, 128], 1_024, 32),
    model([2, 2, 64, 192], 1_024, 32),
  ],
  tokensAParameter: 20,
  // The paper's. Fewer would give the smallest sizes more outer steps, but with a momentum of 0.9 they learn less.
  innerSteps: 30,
  batches: [8, 16, 32],
  innerLearningRate: 8e-3,
  outerLearningRates: [0.2, 0.4, 0.6, 0.8, 1],
  heldOutTokens: 51_200,
  seeds: [3, 3, 2, 1],
}

/** A few minutes on two cores; too small for its numbers to mean much. */
const QUICK: Scale = {
  ...FULL,
  name: 'quick',
  models: [model([1, 1, 8, 64], 512, 32), model([1, 1, 16, 64], 512, 32)],
  batches: [8, 16],
  outerLearningRates: [0.4, 0.8],
  heldOutTokens: 12_800,
  seeds: [1, 1],
}

/** Seconds; to see that everything works. */
const TINY: Scale = {
  ...QUICK,
  name: 'tiny',
  models: [model([1, 1, 8, 64], 300, 16), model([1, 1, 16, 64], 300, 16)],
  tokensAParameter: 0.5,
  innerSteps: 5,
  batches: [8],
  outerLearningRates: [0.6],
  heldOutTokens: 1_024,
}

/** Options that all training experiments have beside the common ones. */
export const TRAINING_EXTRAS = {
  /** Smaller still than --quick. */
  tiny: { type: 'boolean', schema: z.boolean().default(false) },
  codec: { type: 'string', schema: z.enum(CODEC_NAMES).default('f32') },
  /** Only the smallest so many of the ladder's models. */
  sizes: { type: 'string', schema: z.coerce.number().int().min(1).max(9).optional() },
} as const

export function scaleOf(options: {
  readonly tiny: boolean
  readonly quick: boolean
  readonly sizes?: number | undefined
  readonly seeds: number | null
}): Scale {
  const scale = options.tiny ? TINY : options.quick ? QUICK : FULL
  const models = scale.models.slice(0, options.sizes ?? scale.models.length)
  const seeds = models.map((_, i) => options.seeds ?? scale.seeds[i] ?? 1)
  return { ...scale, models, seeds }
}

/** The sizes that scans of one setting look at, by their places; in the small forms the smallest. More would take hours. */
export const scannedSizes = ({ name, models }: Scale, places: readonly number[]): readonly ModelConfig[] =>
  models.filter((_, place) => (name === 'full' ? places.includes(place) : place === 0))

/** The smallest size of the ladder that leaves its plateau whatever the seed; most questions are asked of it. */
export const SURE_SIZE = 1

export function seedsOf({ models, seeds }: Scale, model: ModelConfig): string[] {
  const size = models.findIndex((one) => parameterCount(one) === parameterCount(model))
  return Array.from({ length: seeds[size] ?? 1 }, (_, i) => String(i + 1))
}

/** A run of a model of the ladder with nothing tuned and nothing wrong. */
export function baseSpec(
  scale: Scale,
  config: ModelConfig,
  replicas: number | null,
  codec: Spec['codec'],
): Spec {
  return {
    model: config,
    seed: '1',
    replicas,
    innerSteps: scale.innerSteps,
    batch: scale.batches.find((batch) => batch % (replicas ?? 1) === 0) ?? replicas ?? 8,
    tokens: Math.round(scale.tokensAParameter * parameterCount(config)),
    innerLearningRate: scale.innerLearningRate,
    outerLearningRate: replicas === null ? 1 : 0.6,
    outerMomentum: 0.9,
    codec,
    merge: 'mean',
    heldOutTokens: scale.heldOutTokens,
    trouble: {},
  }
}
