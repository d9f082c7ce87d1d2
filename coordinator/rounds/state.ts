/**
 * The round machine's state. Data with a schema, no behaviour: what is persisted of it is kept.ts's, and what happens to it
 * the machine's.
 */
import { z } from 'zod'
import { LIMITS } from '../../shared/protocol/limits.ts'
import {
  dataRangeSchema,
  deltaViewSchema,
  hashSchema,
  idSchema,
  ROUND_PHASES,
  runConfigSchema,
} from '../../shared/protocol/run.ts'
import { Book } from './book.ts'
import { Leases } from './leases.ts'
import { emptyPool, giveBack, poolSchema } from './pool.ts'
import { expectedEnd } from './schedule.ts'

const count = z.number().int().nonnegative()

const openLeaseSchema = z.strictObject({
  volunteer: idSchema,
  /** The round that its contribution is for: the one under way, or the one after it. */
  round: z.number().int().positive(),
  /** The lease whose end its replica went on from; null when it began at the global weights. */
  after: idSchema.nullable(),
  steps: z.number().int().positive(),
  ranges: z.array(dataRangeSchema),
  issuedAt: count,
  /** Since when its volunteer has been gone; null while connected. */
  orphanedAt: count.nullable(),
  /** Whether a deadline of its round was put off since it was granted. */
  late: z.boolean().default(false),
})
export type OpenLease = z.infer<typeof openLeaseSchema>

const acceptedSchema = z.strictObject({
  volunteer: idSchema,
  steps: z.number().int().positive(),
  /** Of its own lease. */
  tokens: z.number().int().positive(),
  /** Tokens since its replica last began at this fragment's global weights: its weight in the mean. */
  weight: z.number().int().positive(),
  /** SHA-256 of the contribution's bytes. */
  hash: hashSchema,
  /** Of the mean that a group made with it, which is in the vault in its place; null when it came by itself. */
  mean: hashSchema.nullable().default(null),
  /** That came to the coordinator for it. */
  bytes: count,
  trainLoss: z.number(),
})
export type AcceptedContribution = z.infer<typeof acceptedSchema>

/** One fragment of the global model as it stands. */
export const fragmentBaseSchema = z.strictObject({
  parameters: z.number().int().positive(),
  /** Public blob, f32: θ̂, what every volunteer holds. */
  weights: hashSchema,
  /**
   * Vault blob, f32: θ, exact; the rounding of the downlink is fed back through the difference. Null: equal to
   * `weights`.
   */
  exact: hashSchema.nullable(),
  /** Vault blob, f32; null before the first outer step: all zeros. */
  velocity: hashSchema.nullable(),
  /** Largest magnitude among `weights`. */
  largest: z.number(),
})
export type FragmentBase = z.infer<typeof fragmentBaseSchema>

const fragmentSchema = z.strictObject({
  base: fragmentBaseSchema,
  /** How to come from older weights to these; the newest last. */
  deltas: z.array(deltaViewSchema),
})
export type Fragment = z.infer<typeof fragmentSchema>

/** What a volunteer's replica has trained on top of a fragment's global weights. */
const untoldSchema = z.strictObject({
  tokens: count,
  /** Sum of the inner learning rates of those steps. */
  rates: z.number().nonnegative(),
})
export type Untold = z.infer<typeof untoldSchema>

const replicaSchema = z.strictObject({
  /** Its last accepted lease, and that one's round. */
  lease: idSchema,
  round: z.number().int().positive(),
  /** By fragment: trained, accepted with another fragment, not yet contributed here. */
  untold: z.array(untoldSchema),
})
export type Replica = z.infer<typeof replicaSchema>

const paceSchema = z.strictObject({
  /** As last reported, in inner steps alone. */
  tokensPerSecond: z.number().nonnegative(),
  /** Leases in a row that it did not bring back in time. */
  missed: count,
})
export type Pace = z.infer<typeof paceSchema>

/** As it is in memory, or as JSON has it. */
const bookOf = <T>(valueSchema: z.ZodType<T>) =>
  z
    .preprocess((value) => (value instanceof Book ? value.toJSON() : value), z.record(idSchema, valueSchema))
    .transform((record) => Book.of(Object.entries(record)))

const leasesSchema = z.preprocess(
  (value) => (value instanceof Leases ? value.toJSON() : value),
  z.record(idSchema, openLeaseSchema),
)

/** A set; older runs have a list. */
const crowdSchema = z
  .union([z.array(idSchema), bookOf(z.literal(true))])
  .transform((crowd) => (crowd instanceof Book ? crowd : Book.of(crowd.map((id) => [id, true] as const))))

const medianSchema = z.strictObject({
  /** Tokens a second; null when nobody's is known. */
  speed: z.number().nonnegative().nullable(),
  /** Of speeds and of who is present, since it was taken. */
  changes: count,
})

export const NOBODY: Book<true> = Book.of<true>([])
const UNKNOWN_MEDIAN = { speed: null, changes: 1 } as const

/** The run as it was when a round had closed: what can be gone back to. */
export const checkpointSchema = z.strictObject({
  /** 0: the untrained weights. */
  round: count,
  fragments: z.array(fragmentBaseSchema).min(1),
  /** No sequence is leased: what was, when the round closed, is back. */
  pool: poolSchema,
})
export type Checkpoint = z.infer<typeof checkpointSchema>

/** What follows from the rest and is there to be found at once: whatever is read of it is worked out anew. */
const derivedSchema = z.unknown().optional()

const plainSchema = z.strictObject({
  run: idSchema,
  config: runConfigSchema,
  parameters: z.number().int().positive(),
  sequenceLength: z.number().int().positive(),
  sequencesPerEpoch: z.number().int().positive(),
  status: z.enum(['ready', 'running', 'paused', 'completed', 'ended']),
  phase: z.enum(ROUND_PHASES),
  /** The round under way, from 1. */
  round: z.number().int().positive(),
  /** Times the run was rolled back. */
  era: count.default(0),
  fragments: z.array(fragmentSchema).min(1),
  /** When training of this round opened; null while gathering. Unix milliseconds, as all times. */
  openedAt: count.nullable(),
  deadlineAt: count.nullable(),
  /** While paused: milliseconds that were left. */
  remaining: count.nullable(),
  extensions: count,
  pool: poolSchema,
  leases: leasesSchema,
  accepted: bookOf(acceptedSchema),
  /** Refusals of this round by volunteer. */
  refusals: bookOf(count),
  /** By volunteer. */
  replicas: bookOf(replicaSchema),
  paces: bookOf(paceSchema),
  /** Of the speeds of those present, as it was a few changes ago. */
  median: medianSchema.default(UNKNOWN_MEDIAN),
  /** Volunteers connected and willing; nobody after a restart. */
  present: crowdSchema.default(NOBODY),
  /** Who has gone and may still be remembered. */
  gone: crowdSchema.default(NOBODY),
  contributed: derivedSchema,
  eligible: derivedSchema,
})

type Plain = z.infer<typeof plainSchema>

export interface Machine extends Omit<Plain, 'leases'> {
  leases: Leases
  /** Who has contributed to the round under way. */
  contributed: Book<true>
  /** Who is present and may have a lease of the round under way, or holds one. */
  eligible: Book<true>
}

export const machineSchema = plainSchema.transform(({ leases, ...plain }): Machine => {
  const expected = Object.entries(leases).map(
    ([id, lease]) => [id, lease, expectedEnd(plain, lease)] as const,
  )
  return { ...plain, leases: Leases.of(expected), ...volunteersOf(plain) }
})

/** A state in the making. Its fields may be set; what they hold is shared with the state before and is never changed. */
export type Draft = Machine

/** What decides who may still do something in the round under way. */
type Standing = Pick<Plain, 'accepted' | 'refusals' | 'present'>

function volunteersOf(standing: Standing): Pick<Machine, 'contributed' | 'eligible'> {
  const contributors = Array.from(standing.accepted.values(), ({ volunteer }) => [volunteer, true] as const)
  const contributed = Book.of(contributors)
  const present = [...standing.present.entries()]
  return {
    contributed,
    eligible: Book.of(present.filter(([id]) => isEligible({ ...standing, contributed }, id))),
  }
}

/** [L6] */
export const isSetAside = ({ refusals }: Pick<Standing, 'refusals'>, volunteer: string): boolean =>
  (refusals.get(volunteer) ?? 0) >= LIMITS.refusalsPerRound

export const isEligible = (standing: Standing & Pick<Machine, 'contributed'>, volunteer: string): boolean =>
  standing.present.has(volunteer) && !standing.contributed.has(volunteer) && !isSetAside(standing, volunteer)

export interface Prepared {
  readonly run: string
  readonly config: Machine['config']
  readonly sequenceLength: number
  readonly sequencesPerEpoch: number
  /** The untrained weights. */
  readonly fragments: readonly FragmentBase[]
  /** Where in the data it begins; left out, at the first sequence. */
  readonly pool?: Machine['pool']
}

/** Where the run stands between two rounds, to be gone back to. */
export const checkpointOf = ({ round, fragments, pool, leases }: Machine): Checkpoint => ({
  round: round - 1,
  fragments: fragments.map(({ base }) => base),
  pool: giveBack(
    pool,
    [...leases.byId.values()].flatMap(({ ranges }) => ranges),
  ),
})

/** A run whose corpus and first weights are there, waiting for the operator's start. */
export function freshMachine({ fragments, pool = emptyPool(), ...prepared }: Prepared): Machine {
  return {
    ...prepared,
    parameters: fragments.reduce((sum, base) => sum + base.parameters, 0),
    status: 'ready',
    phase: 'gathering',
    round: 1,
    era: 0,
    fragments: fragments.map((base) => ({ base, deltas: [] })),
    openedAt: null,
    deadlineAt: null,
    remaining: null,
    extensions: 0,
    pool,
    leases: Leases.of([]),
    accepted: Book.of<AcceptedContribution>([]),
    refusals: Book.of<number>([]),
    replicas: Book.of<Replica>([]),
    paces: Book.of<Pace>([]),
    median: UNKNOWN_MEDIAN,
    present: NOBODY,
    gone: NOBODY,
    contributed: NOBODY,
    eligible: NOBODY,
  }
}
