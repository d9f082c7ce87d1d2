/** The operator's side: what the panel shows and the HTTP routes it calls. All routes but session, setup and login
 *  need the session cookie. */
import { z } from 'zod'
import type { Backend } from '../engine/engine.ts'
import {
  type CheckpointFile,
  type CheckpointRow,
  type ImportRow,
  type RollbackRow,
  startRequestSchema,
} from './checkpoints.ts'
import { LIMITS } from './limits.ts'
import type { VolunteerState } from './messages.ts'
import { idSchema, type RejectionReason, type RoundSummary, type RunView, runConfigSchema } from './run.ts'
import type { TaskProgress, TaskRow } from './tasks.ts'

const password = z
  .string()
  .min(LIMITS.password.min, `at least ${LIMITS.password.min} characters`)
  .max(LIMITS.password.max, `at most ${LIMITS.password.max} characters`)

/** POST /api/admin/setup: the one-use link's token and the new password. */
export const setupSchema = z.strictObject({ token: z.string().max(100), password })
/** POST /api/admin/login. */
export const loginSchema = z.strictObject({ password: z.string().max(LIMITS.password.max) })
/** POST /api/admin/volunteers/:id/remove: the volunteer is shown the reason and may not come back. */
export const removeSchema = z.strictObject({ reason: z.string().trim().min(1).max(200) })
export const volunteerParamsSchema = z.strictObject({ id: idSchema })

/** POST /api/admin/runs/from. */
export const runFromSchema = z.strictObject({ config: runConfigSchema, start: startRequestSchema })

/** A round that was rolled back; `era` is the one it stood in. */
export type DiscardedRound = Omit<RoundSummary, 'totalTokens'> & { readonly era: number }

/** GET /api/admin/session. */
export interface AdminSession {
  /** False until the one-use link was used. */
  readonly configured: boolean
  readonly loggedIn: boolean
}

export interface VolunteerRow {
  readonly id: string
  readonly name: string
  readonly connected: boolean
  readonly state: VolunteerState
  readonly backend: Backend | null
  readonly device: string
  readonly tokensPerSecond: number | null
  /** Share of this visit's time in inner steps, and its bytes, as the tab counts them; null when not told. */
  readonly utilisation: number | null
  readonly bytesUp: number | null
  readonly bytesDown: number | null
  /** The group it is in: its size, and whether all its channels are open. Null: its bytes go directly. */
  readonly group: { readonly size: number; readonly linked: boolean } | null
  /** To and from other volunteers. */
  readonly peerBytesUp: number | null
  readonly peerBytesDown: number | null
  /** Of the lease under way: inner steps done and asked. */
  readonly step: number | null
  readonly steps: number | null
  readonly accepted: number
  readonly rejected: number
  readonly tokens: number
  readonly removed: string | null
  /** Unix milliseconds. */
  readonly lastSeenAt: number
}

/** How volunteers exchange among themselves, since the coordinator started. */
export interface MeshView {
  /** Groups now, and those of them whose channels are all open. */
  readonly groups: number
  readonly linked: number
  /** Exchanges that ended in an accepted mean, and those that did not. */
  readonly means: number
  readonly failed: number
  /** Contributions that came in means. */
  readonly contributions: number
}

/** One contribution as the round's history shows it. */
export interface ContributionRow {
  readonly lease: string
  readonly volunteer: string
  readonly name: string
  readonly round: number
  readonly result: 'accepted' | 'rejected'
  readonly reason: RejectionReason | null
  readonly message: string
  readonly tokens: number
  readonly trainLoss: number | null
  readonly bytes: number
  readonly at: number
}

/** An imported corpus. */
export interface CorpusRow {
  readonly id: string
  readonly name: string
  /** Path, address or data set that it was imported from. */
  readonly source: string
  readonly licence: string
  readonly vocabSize: number
  readonly documents: number
  /** To train on, and the bytes of text that they stand for. */
  readonly tokens: number
  readonly bytes: number
  readonly validationTokens: number
  /** Lines and rows left out. */
  readonly broken: number
  readonly sample: string
  /** Unix milliseconds. */
  readonly at: number
}

export interface AdminView {
  readonly run: RunView | null
  /** Every volunteer connected now, then the most recently seen, 200 at most. */
  readonly volunteers: VolunteerRow[]
  readonly mesh: MeshView
  /** All merged rounds' summaries, newest first, 200 at most. */
  readonly rounds: RoundSummary[]
  /** Kept ones of all runs, the newest run and round first, LIMITS.checkpointsListed at most. */
  readonly checkpoints: CheckpointRow[]
  /** Of this run, newest first, and the rounds that they discarded, 200 at most. */
  readonly rollbacks: RollbackRow[]
  readonly discarded: DiscardedRound[]
  /** Newest first. */
  readonly imports: ImportRow[]
  /** Newest first; the embedded one is not among them. */
  readonly corpora: CorpusRow[]
  /** Zero-shot tasks that are imported, by name, and the one that is being measured. */
  readonly tasks: TaskRow[]
  readonly measuring: TaskProgress | null
  /** Newest first, 200 at most. */
  readonly contributions: ContributionRow[]
  /** Things the operator should know, newest first; empty is good. */
  readonly problems: { readonly code: string; readonly message: string; readonly at: number }[]
}

/** Every path of the coordinator's HTTP interface. */
export const ROUTES = {
  health: '/healthz',
  ready: '/readyz',
  /** GET, Prometheus' text format; needs `authorization: Bearer …` where POTLUCK_METRICS_TOKEN is set. */
  metrics: '/metrics',
  run: '/api/run',
  blob: (hash: string) => `/blobs/${hash}`,
  contribution: (lease: string) => `/contributions/${lease}`,
  exchange: (exchange: string, slice: number) => `/exchanges/${exchange}/${slice}`,
  adminSession: '/api/admin/session',
  adminSetup: '/api/admin/setup',
  adminLogin: '/api/admin/login',
  adminLogout: '/api/admin/logout',
  adminView: '/api/admin/view',
  /** POST, body RunConfig. */
  adminRuns: '/api/admin/runs',
  /** POST. */
  adminRunAction: (action: RunAction) => `/api/admin/run/${action}`,
  adminRemove: (volunteer: string) => `/api/admin/volunteers/${volunteer}/remove`,
  /** GET, the latest merged weights as safetensors. */
  adminWeights: '/api/admin/run/weights.safetensors',
  /** POST {config, start}: a run that starts from weights that are there. */
  adminRunsFrom: '/api/admin/runs/from',
  /** POST. */
  adminRollBack: '/api/admin/run/roll-back',
  adminCheckpoint: (run: string, round: number | string, file: CheckpointFile) =>
    `/api/admin/checkpoints/${run}/${round}/${file}`,
  adminImports: '/api/admin/imports',
  /** POST MeasureTasks: measures the newest weights on zero-shot tasks. */
  adminRunTasks: (run: string) => `/api/admin/runs/${run}/tasks`,
} as const

export const RUN_ACTIONS = ['start', 'pause', 'resume', 'end'] as const
export type RunAction = (typeof RUN_ACTIONS)[number]
