/** How large the experiment is, and which runs it is made of. Numbers only; options.ts chooses between them. */
import { CODEC_NAMES, type CodecName } from '../../shared/codec/codec.ts'
import type { ModelConfig } from '../../shared/model/config.ts'

/** What all runs have in common. */
export interface Settings {
  readonly model: ModelConfig
  /** M. */
  readonly replicas: number
  /** H: inner steps between two synchronisations of the same parameter; a multiple of every number of fragments. */
  readonly innerSteps: number
  /** How often each parameter is synchronised. */
  readonly synchronisations: number
  /** Sequences of one inner step of one replica. */
  readonly batchSize: number
  /** Data-parallel steps, of replicas × batchSize sequences, before the runs of a seed part. */
  readonly warmSteps: number
  readonly innerLearningRate: number
  readonly outerLearningRate: number | 'auto'
  readonly outerMomentum: number
  /** Validation tokens of one evaluation. */
  readonly heldOutTokens: number
  /** The validation loss is the mean of this many evaluations, H inner steps apart, the last of them at the end. */
  readonly evaluations: number
}

/** T: inner steps of a whole run, the warm ones included. */
export const totalSteps = (s: Settings): number => s.warmSteps + s.innerSteps * s.synchronisations

/** What one run does otherwise than the others of its seed. */
export interface Cell {
  readonly codec: CodecName
  /** Of the residual: 0 is no error feedback, 1 is all of it. */
  readonly decay: number
  /** P. */
  readonly fragments: number
  readonly overlap: boolean
  /** `nesterov` as the settings say; `plain` adds the mean pseudo-gradient as it is: rate 1, no momentum. */
  readonly outer: 'nesterov' | 'plain'
  /** Starts one unit in the last place away: what it ends away is noise. */
  readonly twin: boolean
}

/**
 * Four layers, so that each of four fragments has one. 40,248 parameters; a run takes about 3 s of one core. Small as it
 * is, it is quiet: twins that start one unit in the last place apart end within 0.0001 %.
 */
export const FULL: Settings = {
  model: { vocabSize: 512, layers: 4, heads: 2, dModel: 24, headDim: 12, hidden: 64, sequenceLength: 32 },
  replicas: 2,
  innerSteps: 12,
  synchronisations: 16,
  batchSize: 4,
  warmSteps: 150,
  innerLearningRate: 6e-3,
  outerLearningRate: 'auto',
  outerMomentum: 0.9,
  heldOutTokens: 6_400,
  evaluations: 4,
}

/** To see that everything works; says nothing about codecs. */
export const QUICK: Settings = {
  ...FULL,
  model: { vocabSize: 300, layers: 4, heads: 1, dModel: 16, headDim: 16, hidden: 64, sequenceLength: 16 },
  innerSteps: 8,
  synchronisations: 2,
  batchSize: 4,
  warmSteps: 30,
  innerLearningRate: 8e-3,
  heldOutTokens: 1_024,
  evaluations: 1,
}

export const FRAGMENTS = [1, 4] as const
/** None, all of it, and as SparseLoCo (arXiv 2508.15706) has it. */
export const DECAYS = [0, 1, 0.95] as const

/** Nesterov's outer step, f32 first, then every lossy codec with every decay. */
export const grid = (): Cell[] => inEverySetting((f32) => [f32, ...lossyCells(f32)])

/**
 * What the grid is to be read beside: twins of f32, and sparse by SparseLoCo's recipe, where error feedback stands in
 * for outer momentum, with f32 by the same.
 */
export const besideTheGrid = (): Cell[] =>
  inEverySetting((f32) => [
    { ...f32, twin: true },
    { ...f32, outer: 'plain' },
    { ...f32, codec: 'sparse', decay: 0.95, outer: 'plain' },
  ])

function inEverySetting(cells: (f32: Cell) => Cell[]): Cell[] {
  return FRAGMENTS.flatMap((fragments) =>
    [false, true].flatMap((overlap) =>
      cells({ codec: 'f32', decay: 0, fragments, overlap, outer: 'nesterov', twin: false }),
    ),
  )
}

function lossyCells(f32: Cell): Cell[] {
  const lossy = CODEC_NAMES.filter((codec) => codec !== 'f32')
  return lossy.flatMap((codec) => DECAYS.map((decay) => ({ ...f32, codec, decay })))
}

/** The delta that replicas download: f32 beside an f32 uplink, so that such a run has no rounding at all. */
export const downlinkOf = (codec: CodecName): CodecName => (codec === 'f32' ? 'f32' : 'int8')
