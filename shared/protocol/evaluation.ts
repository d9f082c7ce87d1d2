/** Evaluations as both ends see them: who measures, slices of the held-out set that volunteers measure, results. */
import { z } from 'zod'
import { LIMITS } from './limits.ts'
import { hashSchema, idSchema } from './names.ts'

const count = z.number().int().nonnegative()

/** Who measures the held-out loss. `auto`: the coordinator what it can carry, volunteers what is larger. */
export const EVALUATION_WAYS = ['auto', 'coordinator', 'volunteers'] as const
export type EvaluationWay = (typeof EVALUATION_WAYS)[number]

/** The weights that are measured, fragment by fragment. */
const weightsSchema = z.array(hashSchema).min(1).max(48)

/** An evaluation that volunteers are asked to measure now. */
export const openEvaluationSchema = z.strictObject({
  /** The model after so many rounds; 0 is untrained. */
  round: count,
  weights: weightsSchema,
  /** Slices of the held-out set, and those whose sum is agreed upon. */
  slices: z.number().int().positive(),
  settled: count,
})
export type OpenEvaluation = z.infer<typeof openEvaluationSchema>

/** Tab → coordinator, answered: asks for a slice of the evaluation of this round, whose weights it has. */
export const sliceRequestSchema = z.strictObject({ run: idSchema, round: count })
export type SliceRequest = z.infer<typeof sliceRequestSchema>

/** The right to measure a part of the held-out set once, within LIMITS.evaluation.sliceSeconds. */
export const sliceSchema = z.strictObject({
  id: idSchema,
  run: idSchema,
  round: count,
  weights: weightsSchema,
  /** The held-out set: a blob in a shard's format. */
  set: hashSchema,
  /** Sequences of it. */
  first: count,
  count: z.number().int().positive(),
})
export type Slice = z.infer<typeof sliceSchema>

/** `none`: another evaluation is open, or this tab has measured all that it may of this one. */
export const sliceGrantSchema = z.union([
  z.strictObject({ slice: sliceSchema }),
  z.strictObject({ none: z.literal(true) }),
])
export type SliceGrant = z.infer<typeof sliceGrantSchema>

/** Tab → coordinator, answered: what came of a slice. */
export const sliceAnswerSchema = z.strictObject({
  slice: idSchema,
  /** What was measured, as the tab found it. */
  weights: weightsSchema,
  /** Cross entropy summed over the slice's tokens. */
  nats: z.number().nonnegative().max(LIMITS.evaluation.nats),
  tokens: z.number().int().positive().max(LIMITS.evaluation.tokens),
})
export type SliceAnswer = z.infer<typeof sliceAnswerSchema>

const shareSchema = z.number().min(0).max(1)
const accuracySchema = z.strictObject({ accuracy: shareSchema, standardError: shareSchema })

/** What a zero-shot task said of the model after a round. */
export const taskResultSchema = z.strictObject({
  task: z.string(),
  round: count,
  examples: z.number().int().positive(),
  /** By the likelihood of each choice, and by that divided by its length in characters. */
  plain: accuracySchema,
  normalised: accuracySchema,
  /** Accuracy of guessing. */
  chance: shareSchema,
})
export type TaskResult = z.infer<typeof taskResultSchema>
