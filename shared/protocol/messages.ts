/**
 * Every Socket.IO message between a tab and the coordinator (namespace `/volunteers`) and between the panel and
 * the coordinator (namespace `/admin`). Delivery is at most once, so each message names its run, round or lease
 * and may be repeated. To add one: a schema here, a line in the maps below, a handler in coordinator/realtime,
 * a caller in client/swarm.
 */
import { z } from 'zod'
import { BACKENDS } from '../engine/engine.ts'
import type { AdminView } from './admin.ts'
import type { ErrorBody } from './errors.ts'
import type { SliceAnswer, SliceGrant, SliceRequest } from './evaluation.ts'
import { LIMITS } from './limits.ts'
import type {
  ExchangeMessage,
  GroupMessage,
  groupOverSchema,
  heldSchema,
  linkedSchema,
  meshSchema,
  OfferAnswer,
  offerSchema,
  ownSchema,
  quitSchema,
  ReduceMessage,
  relayedSchema,
  settledSchema,
  signalSchema,
} from './mesh.ts'
import type { RunNews } from './news.ts'
import { idSchema, leaseSchema, runViewSchema, WAIT_REASONS } from './run.ts'

export const PROTOCOL_VERSION = 7

/** What a tab may be doing, as the panel shows it. `watching` has not been asked to contribute. */
export const VOLUNTEER_STATES = [
  'watching',
  'preparing',
  'waiting',
  'training',
  'sending',
  'paused',
  'stopped',
] as const
export type VolunteerState = (typeof VOLUNTEER_STATES)[number]

/** `auth` of the socket handshake. `token` is the secret of an earlier visit. */
export const volunteerAuthSchema = z.strictObject({
  protocol: z.number().int(),
  token: z.string().min(20).max(100).optional(),
})
export type VolunteerAuth = z.infer<typeof volunteerAuthSchema>

/** Tab → coordinator, answered: "I am willing to train" (again after each reconnect). */
export const joinSchema = z.strictObject({
  backend: z.enum(BACKENDS),
  /** Measured on this device with the run's model. */
  tokensPerSecond: z.number().nonnegative().max(1e9),
  /** Browser and adapter in words, for the operator's list. */
  device: z.string().max(LIMITS.deviceCharacters),
})
/** The open leases of who joined, of the round under way and the next; null while the coordinator does not know. */
export const joinedSchema = z.strictObject({ leases: z.array(idSchema).max(2).nullable() })
export type Joined = z.infer<typeof joinedSchema>
/** Tab → coordinator: what I am doing; `training` carries progress. */
export const stateSchema = z.strictObject({
  state: z.enum(VOLUNTEER_STATES),
  lease: idSchema.optional(),
  step: z.number().int().nonnegative().optional(),
  loss: z.number().optional(),
  tokensPerSecond: z.number().nonnegative().max(1e9).optional(),
  /** Share of the visit's time, pauses not counted, that went into inner steps. */
  utilisation: z.number().min(0).max(1).optional(),
  /** Bytes of contributions sent, and of blobs received, in this visit. */
  bytesUp: z.number().int().nonnegative().optional(),
  bytesDown: z.number().int().nonnegative().optional(),
  /** To and from other volunteers. */
  peerBytesUp: z.number().int().nonnegative().optional(),
  peerBytesDown: z.number().int().nonnegative().optional(),
})
/** Tab → coordinator, answered: asks for work. */
export const leaseRequestSchema = z.strictObject({
  run: idSchema,
  /**
   * The lease whose last step left this tab's parameters as they are, on its way or accepted; null when they are the
   * global weights. With it the next round's lease may be asked for ahead.
   */
  after: idSchema.nullable(),
  /** Speed in inner steps as last measured: leases are sized by it. */
  tokensPerSecond: z.number().nonnegative().max(1e9),
})
export type LeaseRequest = z.infer<typeof leaseRequestSchema>
/** Tab → coordinator: gives a lease back; its data goes to the pool. */
export const releaseSchema = z.strictObject({ lease: idSchema })

export const leaseAnswerSchema = z.union([
  z.strictObject({ lease: leaseSchema }),
  z.strictObject({ wait: z.enum(WAIT_REASONS) }),
])
export type LeaseAnswer = z.infer<typeof leaseAnswerSchema>

/** Coordinator → tab, once after connecting. `token` only for a newcomer, who keeps it. */
export const welcomeSchema = z.strictObject({
  volunteer: z.strictObject({
    id: idSchema,
    name: z.string(),
    acceptedContributions: z.number().int(),
    tokens: z.number().int(),
  }),
  token: z.string().optional(),
  run: runViewSchema.nullable(),
})
export type Welcome = z.infer<typeof welcomeSchema>

type Answer<T> = (answer: T | ErrorBody) => void

export interface VolunteerToCoordinator {
  join: (message: z.infer<typeof joinSchema>, answer: Answer<Joined>) => void
  leave: (answer: Answer<{ ok: true }>) => void
  state: (message: z.infer<typeof stateSchema>) => void
  lease: (message: z.infer<typeof leaseRequestSchema>, answer: Answer<LeaseAnswer>) => void
  release: (message: z.infer<typeof releaseSchema>, answer: Answer<{ ok: true }>) => void
  slice: (message: SliceRequest, answer: Answer<SliceGrant>) => void
  measured: (message: SliceAnswer, answer: Answer<{ ok: true }>) => void
  mesh: (message: z.infer<typeof meshSchema>, answer: Answer<{ ok: true }>) => void
  signal: (message: z.infer<typeof signalSchema>) => void
  linked: (message: z.infer<typeof linkedSchema>) => void
  offer: (message: z.infer<typeof offerSchema>, answer: Answer<OfferAnswer>) => void
  held: (message: z.infer<typeof heldSchema>) => void
  quit: (message: z.infer<typeof quitSchema>) => void
}
export interface CoordinatorToVolunteer {
  welcome: (message: Welcome) => void
  /** The whole view, when there is another run or era, or none. */
  run: (view: z.infer<typeof runViewSchema> | null) => void
  /** What has changed in it, at most a few times a second. */
  news: (news: RunNews) => void
  /** There is a place for who was refused a lease: ask again. */
  call: () => void
  group: (message: GroupMessage) => void
  groupOver: (message: z.infer<typeof groupOverSchema>) => void
  relayed: (message: z.infer<typeof relayedSchema>) => void
  exchange: (message: ExchangeMessage) => void
  reduce: (message: ReduceMessage) => void
  own: (message: z.infer<typeof ownSchema>) => void
  settled: (message: z.infer<typeof settledSchema>) => void
  /** The operator removed this volunteer; the connection closes. */
  removed: (message: { reason: string }) => void
}

export interface AdminToCoordinator {
  [event: string]: never
}
export interface CoordinatorToAdmin {
  /** Whenever anything in it changes, at most twice a second. */
  view: (view: AdminView) => void
}
