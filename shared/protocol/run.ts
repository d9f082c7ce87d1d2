/**
 * Runs as both ends see them: what an operator configures, what volunteers are told, what a lease and a receipt
 * hold. Zod schemas first, types inferred from them.
 */
import { z } from 'zod'
import { CODEC_NAMES } from '../codec/codec.ts'
import { PRESET_NAMES, PRESETS } from '../model/config.ts'
import { checkpointRulesSchema, USUAL_CHECKPOINTS } from './checkpoints.ts'
import { EVALUATION_WAYS, openEvaluationSchema, taskResultSchema } from './evaluation.ts'
import { hashSchema, idSchema } from './names.ts'
import { taskRulesSchema, USUAL_TASKS } from './tasks.ts'

const count = z.number().int().nonnegative()

export { hashSchema, idSchema }

/** A sparse downlink would leave newcomers' deltas far behind the snapshot for long. */
export const DOWNLINK_CODECS = ['f32', 'f16', 'int8', 'int4'] as const

/** An imported corpus, and the size of its vocabulary, which is the model's. */
export const corpusChoiceSchema = z.strictObject({
  id: idSchema,
  vocabSize: z.number().int().min(257).max(65_536),
})
export type CorpusChoice = z.infer<typeof corpusChoiceSchema>

/** What the operator decides when creating a run. */
export const runConfigSchema = z
  .strictObject({
    name: z.string().trim().min(1).max(60),
    preset: z.enum(PRESET_NAMES),
    /** What it trains on; null is the embedded corpus, in the preset's vocabulary. */
    corpus: corpusChoiceSchema.nullable().default(null),
    /** H: inner steps between two outer steps of the same parameters. A round has H / fragments of them. */
    innerSteps: z.number().int().min(1).max(5_000),
    /** P: every round brings one of so many fragments of the model together, in turn. 1 is classic DiLoCo. */
    fragments: z.number().int().min(1).max(48),
    /** How pseudo-gradients travel up, and the global weights' deltas down. */
    codec: z.enum(CODEC_NAMES),
    downlink: z.enum(DOWNLINK_CODECS),
    /** What a tab keeps of the rounding of the round before: 1 is plain error feedback, 0 is none. */
    errorFeedback: z.number().min(0).max(1),
    /** Tabs train on while their bytes travel. */
    overlap: z.boolean(),
    /** As in the paper: H steps for everybody, and a round closes when all replicas are in, however long it takes. */
    strict: z.boolean(),
    /** Sequences in one inner step of one replica. */
    batchSize: z.number().int().min(1).max(1_024),
    /** M: accepted contributions that close a round. */
    replicas: z.number().int().min(1).max(256),
    /** Accepted contributions a round needs at its deadline, and volunteers it needs to open. */
    quorum: z.number().int().min(1).max(256),
    deadlineSeconds: z
      .number()
      .int()
      .min(5)
      .max(7 * 86_400),
    rounds: z.number().int().min(1).max(1_000_000),
    /** Peak inner learning rate. */
    innerLearningRate: z.number().positive().max(1),
    /** A number fixes it; `auto` follows the paper's best by accepted replicas. */
    outerLearningRate: z.union([z.literal('auto'), z.number().positive().max(2)]),
    outerMomentum: z.number().min(0).max(0.999),
    /** Seeds initial weights and the order of the data. */
    seed: z.string().max(40),
    /** Volunteers who agreed exchange contributions among themselves in groups of so many; 1: nobody does. */
    groupSize: z.number().int().min(1).max(8).default(1),
    /** The share of exchanges in which members' own bytes are looked at too. */
    auditRate: z.number().min(0).max(1).default(0.05),
    evaluation: z.enum(EVALUATION_WAYS).default('auto'),
    checkpoints: checkpointRulesSchema.default(USUAL_CHECKPOINTS),
    tasks: taskRulesSchema.default(USUAL_TASKS),
  })
  .refine((config) => config.quorum <= config.replicas, {
    path: ['quorum'],
    message: 'quorum must not exceed replicas',
  })
  .refine((config) => config.innerSteps % config.fragments === 0, {
    path: ['fragments'],
    message: 'fragments must divide the inner steps',
  })
  .refine((config) => config.groupSize === 1 || config.codec !== 'sparse', {
    path: ['groupSize'],
    message: 'the mean of sparse contributions is not sparse: groups need another codec',
  })
  .refine((config) => config.fragments <= PRESETS[config.preset].layers, {
    path: ['fragments'],
    message: 'no more fragments than the model has layers',
  })
export type RunConfig = z.infer<typeof runConfigSchema>

/** preparing: corpus and first weights are being made. ended: the operator ended it. failed: `problem` says why. */
export const RUN_STATUSES = [
  'preparing',
  'ready',
  'running',
  'paused',
  'completed',
  'ended',
  'failed',
] as const
/** gathering: too few volunteers. training: leases are out. merging: the outer step is being taken. */
export const ROUND_PHASES = ['gathering', 'training', 'merging'] as const

export const roundSummarySchema = z.strictObject({
  /** Counts from 1; the model after this many outer steps. */
  round: count,
  /** Contributions merged. */
  replicas: count,
  /** Tokens trained in this round's merged contributions. */
  tokens: count,
  /** Inner steps of all of them. */
  steps: count,
  /** Tokens of all rounds so far. */
  totalTokens: count,
  /** Mean cross entropy the replicas saw, weighted by tokens, nats per token. */
  trainLoss: z.number(),
  /** Null until the evaluation is done. */
  valLoss: z.number().nullable(),
  bitsPerByte: z.number().nullable(),
  /** From the round's opening to its outer step. */
  seconds: z.number(),
  bytesUp: count,
  bytesDown: count,
  outerLearningRate: z.number(),
  /** Unix milliseconds. */
  closedAt: count,
})
export type RoundSummary = z.infer<typeof roundSummarySchema>

/** One step of a fragment's way to its newest snapshot. */
export const deltaViewSchema = z.strictObject({
  /** The snapshot that it is added to; the sum is the next entry's `from`, after the last one the fragment's `hash`. */
  from: hashSchema,
  hash: hashSchema,
  bytes: count,
  codec: z.enum(DOWNLINK_CODECS),
})
export type DeltaView = z.infer<typeof deltaViewSchema>

/** A fragment of the global weights, as the coordinator offers it. */
export const fragmentViewSchema = z.strictObject({
  /** The snapshot: f32, little endian. */
  hash: hashSchema,
  bytes: count,
  /** The newest last. */
  deltas: z.array(deltaViewSchema),
})
export type FragmentView = z.infer<typeof fragmentViewSchema>

export const runViewSchema = z.strictObject({
  id: idSchema,
  config: runConfigSchema,
  status: z.enum(RUN_STATUSES),
  /** Set when status is failed: what happened and what to do. */
  problem: z.string().nullable(),
  phase: z.enum(ROUND_PHASES),
  /** The round under way, counting from 1; rounds before it are merged. */
  round: count,
  /** Times the run was rolled back: rounds and leases of an earlier era are no more, whatever their numbers. */
  era: count,
  /** Unix milliseconds; null while no deadline runs. */
  deadlineAt: count.nullable(),
  /** Times this round's deadline was put off for want of a quorum. */
  extensions: count,
  /** Volunteers connected, not paused and not removed. */
  present: count,
  /** Leases of this round still being worked on. */
  leased: count,
  /** Contributions accepted in this round. */
  accepted: count,
  parameters: count,
  /** Accepted tokens of all merged rounds. */
  tokens: count,
  /** Volunteers who ever had a contribution accepted in this run. */
  contributors: count,
  /** The global weights that this round stands on, fragment by fragment; null while preparing. */
  weights: z.array(fragmentViewSchema).nullable(),
  manifest: hashSchema.nullable(),
  /** Loss of the untrained model. */
  initialValLoss: z.number().nullable(),
  initialBitsPerByte: z.number().nullable(),
  /** Newest last; thinned to LIMITS.historyPoints. */
  history: z.array(roundSummarySchema),
  /** What volunteers are asked to measure; null while there is nothing, or the coordinator measures itself. */
  evaluation: openEvaluationSchema.nullable(),
  /** Of zero-shot tasks, oldest first; thinned to LIMITS.historyPoints a task. */
  tasks: z.array(taskResultSchema),
  /** Text the model wrote: untrained, and after the round named. */
  samples: z.array(z.strictObject({ round: count, text: z.string() })),
  /** The coordinator's clock, Unix milliseconds, for countdowns. */
  now: count,
})
export type RunView = z.infer<typeof runViewSchema>

/** A part of an epoch's permutation of the training sequences. */
export const dataRangeSchema = z.strictObject({
  epoch: count,
  first: count,
  count: z.number().int().positive(),
})
export type DataRange = z.infer<typeof dataRangeSchema>

/**
 * The right and duty to train: who holds it takes `steps` inner steps on the ranges and contributes one fragment's
 * pseudo-gradient against the global weights of `round`, which RunView names once that round is open. A lease of the
 * round after this one is trained on while the bytes of this one travel.
 */
export const leaseSchema = z.strictObject({
  id: idSchema,
  run: idSchema,
  round: count,
  /** As in RunView. */
  era: count,
  /** Index of the fragment to contribute. */
  fragment: count,
  steps: z.number().int().positive(),
  batchSize: z.number().int().positive(),
  /** Global step of the first inner step. */
  firstStep: count,
  totalSteps: z.number().int().positive(),
  peakLearningRate: z.number().positive(),
  /** steps × batchSize sequences in all. */
  ranges: z.array(dataRangeSchema).min(1),
  codec: z.enum(CODEC_NAMES),
  errorFeedback: z.number().min(0).max(1),
  /** Exact length of the encoded contribution. */
  bytes: z.number().int().positive(),
  /** Unix milliseconds; null while the run is paused. */
  deadlineAt: count.nullable(),
})
export type Lease = z.infer<typeof leaseSchema>

/** Why there is no lease now. The page has a sentence for each. */
export const WAIT_REASONS = [
  'no-run',
  'preparing',
  'not-started',
  'gathering',
  'round-full',
  'contributed',
  'set-aside',
  'merging',
  'paused',
  'completed',
  'ended',
  'failed',
] as const
export type WaitReason = (typeof WAIT_REASONS)[number]

/** Why a contribution was not used. */
export const REJECTION_REASONS = [
  'unknown-lease',
  'not-your-lease',
  'stale',
  'lapsed',
  'early',
  'duplicate',
  'wrong-length',
  'hash-mismatch',
  'not-finite',
  'too-large-step',
  'bad-steps',
  'removed',
] as const
export type RejectionReason = (typeof REJECTION_REASONS)[number]

const receiptBase = {
  lease: z.string(),
  round: count,
  /** A sentence for people. */
  message: z.string(),
}
export const receiptSchema = z.discriminatedUnion('result', [
  z.strictObject({
    result: z.literal('accepted'),
    ...receiptBase,
    tokens: count,
    /** True when these very bytes had been accepted before: nothing was counted again. */
    repeated: z.boolean(),
  }),
  z.strictObject({ result: z.literal('rejected'), ...receiptBase, reason: z.enum(REJECTION_REASONS) }),
])
export type Receipt = z.infer<typeof receiptSchema>
