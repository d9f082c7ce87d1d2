/** Checkpoints as the operator meets them: which are kept, how they are listed, and what a run may start from. */
import { z } from 'zod'
import { PRESET_NAMES, type PresetName } from '../model/config.ts'
import { hashSchema, idSchema } from './names.ts'

const count = z.number().int().nonnegative()

/** Which rounds' checkpoints are kept: whatever one of the three rules names. */
export const checkpointRulesSchema = z.strictObject({
  /** The newest so many. */
  last: z.number().int().min(1).max(100),
  /** Every round that this divides; 0 for none. */
  every: z.number().int().min(0).max(1_000_000),
  /** So many with the lowest validation loss. */
  best: z.number().int().min(0).max(100),
})
export type CheckpointRules = z.infer<typeof checkpointRulesSchema>

/** Of runs that were made before there was a choice. */
export const USUAL_CHECKPOINTS: CheckpointRules = { last: 3, every: 0, best: 1 }

/** start: the run's first weights. unmeasured: it may turn out to be the best. */
export type CheckpointReason = 'start' | 'last' | 'every' | 'best' | 'unmeasured'

/** A checkpoint in the panel's list. */
export interface CheckpointRow {
  readonly run: string
  readonly name: string
  readonly preset: PresetName
  readonly vocabSize: number
  /** 0: the run's first weights. */
  readonly round: number
  /** Of the run in all. */
  readonly rounds: number
  /** Null until the round is measured. */
  readonly valLoss: number | null
  readonly bitsPerByte: number | null
  readonly trainLoss: number | null
  /** Of the download. */
  readonly weightsBytes: number
  /** On disk, exact weights and velocity included. */
  readonly bytes: number
  readonly reasons: readonly CheckpointReason[]
  /** Unix milliseconds. */
  readonly at: number
}

/** A roll-back in a run's history. */
export interface RollbackRow {
  /** The round that was under way, and the one that was gone back to. */
  readonly from: number
  readonly to: number
  /** Accepted contributions that no longer count in the run, and their tokens. */
  readonly contributions: number
  readonly tokens: number
  readonly at: number
}

/** Weights that the operator uploaded. */
export interface ImportRow {
  readonly hash: string
  readonly name: string
  readonly preset: PresetName
  readonly vocabSize: number
  readonly at: number
}

/** POST /api/admin/run/roll-back: the checkpoint's round, and the run that the operator saw it of. */
export const rollBackSchema = z.strictObject({ run: idSchema, round: count })

export const startRequestSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('checkpoint'),
    run: idSchema,
    round: count,
    /** Of the outer step: carried on, or begun anew at zero. */
    moments: z.enum(['carried', 'zero']),
  }),
  z.strictObject({ kind: z.literal('import'), hash: hashSchema }),
])
export type StartRequest = z.infer<typeof startRequestSchema>

/** GET /api/admin/checkpoints/:run/:round/:file. */
export const CHECKPOINT_FILES = ['model.safetensors', 'config.json', 'tokenizer.json'] as const
export type CheckpointFile = (typeof CHECKPOINT_FILES)[number]
export const checkpointParamsSchema = z.strictObject({
  run: idSchema,
  round: z.coerce.number().int().nonnegative(),
  file: z.enum(CHECKPOINT_FILES),
})

/** PUT /api/admin/imports, the file as application/octet-stream. */
export const importQuerySchema = z.strictObject({
  preset: z.enum(PRESET_NAMES),
  vocabSize: z.coerce.number().int().min(257).max(65_536).optional(),
  name: z.string().trim().min(1).max(100),
})
