/** The round machine's state, as it is persisted after every event. Plain data with a schema; no behaviour. */
import { z } from 'zod'
import {
  dataRangeSchema,
  hashSchema,
  idSchema,
  ROUND_PHASES,
  runConfigSchema,
} from '../../shared/protocol/run.ts'
import { emptyPool, poolSchema } from './pool.ts'

const count = z.number().int().nonnegative()

const openLeaseSchema = z.strictObject({
  volunteer: idSchema,
  steps: z.number().int().positive(),
  ranges: z.array(dataRangeSchema),
  issuedAt: count,
  /** Since when its volunteer has been gone; null while connected. */
  orphanedAt: count.nullable(),
})
export type OpenLease = z.infer<typeof openLeaseSchema>

const acceptedSchema = z.strictObject({
  volunteer: idSchema,
  steps: z.number().int().positive(),
  tokens: z.number().int().positive(),
  /** SHA-256 of the contribution's bytes. */
  hash: hashSchema,
  bytes: count,
  trainLoss: z.number(),
})
export type AcceptedContribution = z.infer<typeof acceptedSchema>

export const machineSchema = z.strictObject({
  run: idSchema,
  config: runConfigSchema,
  parameters: z.number().int().positive(),
  sequenceLength: z.number().int().positive(),
  sequencesPerEpoch: z.number().int().positive(),
  status: z.enum(['ready', 'running', 'paused', 'completed', 'ended']),
  phase: z.enum(ROUND_PHASES),
  /** The round under way, from 1. */
  round: z.number().int().positive(),
  base: z.strictObject({
    weights: hashSchema,
    /** Null before the first outer step: all zeros. */
    velocity: hashSchema.nullable(),
    /** Largest magnitude among the weights, for the bound on contributions. */
    largest: z.number(),
  }),
  /** When training of this round opened; null while gathering. Unix milliseconds, as all times. */
  openedAt: count.nullable(),
  deadlineAt: count.nullable(),
  /** While paused: milliseconds that were left. */
  remaining: count.nullable(),
  extensions: count,
  pool: poolSchema,
  leases: z.record(idSchema, openLeaseSchema),
  accepted: z.record(idSchema, acceptedSchema),
  /** Refusals of this round by volunteer. */
  refusals: z.record(idSchema, count),
  /** Volunteers connected and willing; nobody after a restart. */
  present: z.array(idSchema),
})
export type Machine = z.infer<typeof machineSchema>

export interface Prepared {
  readonly run: string
  readonly config: Machine['config']
  readonly parameters: number
  readonly sequenceLength: number
  readonly sequencesPerEpoch: number
  readonly weights: string
  readonly largest: number
}

/** A run whose corpus and first weights are there, waiting for the operator's start. */
export function freshMachine({ weights, largest, ...prepared }: Prepared): Machine {
  return {
    ...prepared,
    status: 'ready',
    phase: 'gathering',
    round: 1,
    base: { weights, velocity: null, largest },
    openedAt: null,
    deadlineAt: null,
    remaining: null,
    extensions: 0,
    pool: emptyPool(),
    leases: {},
    accepted: {},
    refusals: {},
    present: [],
  }
}
