/**
 * How tabs exchange pseudo-gradients among themselves: what they tell the coordinator, what it tells them, and what they
 * tell one another. Who decides what is in coordinator/mesh/RULES.md. A message of a group or an exchange that is over is
 * harmless. To add one: a schema here, a line in messages.ts, a handler at both ends.
 *
 * PUT /exchanges/<exchange>/<slice>?kind=…&attempt=…&sha256=…&offset=…
 *   The bytes of one slice from `offset` on, resumable as contributions are (contribution.ts): kind `mean` is the reducer's
 *   result over the set of that attempt, `own` a member's own slice, `whole` (slice 0) its whole contribution. Answers
 *   `{ ok: true }` or an ErrorBody.
 */
import { z } from 'zod'
import { CODEC_NAMES } from '../codec/codec.ts'
import { hashSchema, idSchema } from './names.ts'
import { receiptSchema } from './run.ts'

export const MESH_LIMITS = {
  /** Members of a group. */
  members: 8,
  /** Characters of one relayed WebRTC signal: session descriptions of data channels have 500 to 2,000. */
  signalCharacters: 8_192,
  /** Signals that one tab may send in a window. */
  signals: { points: 400, seconds: 60 },
  /** Seconds in which the members of a new group have to connect. */
  linkSeconds: 15,
  /** Seconds for a phase of an exchange, besides the time its bytes take at the slowest speed that is waited for. */
  phaseSeconds: 15,
  slowestBytesPerSecond: 125_000,
  /** The share of the time to a round's deadline that an exchange may use; the rest is for the direct way. */
  shareOfDeadline: 0.6,
  /** Blobs smaller than this are not worth passing on. */
  sharedBlobBytes: 32 * 1024,
  iceServers: 8,
} as const

const member = z
  .number()
  .int()
  .min(0)
  .max(MESH_LIMITS.members - 1)
const members = z.array(member).max(MESH_LIMITS.members)

// Tab → coordinator.

/** The volunteer agreed to meet others, or no longer does. */
export const meshSchema = z.strictObject({ on: z.boolean() })
export const signalSchema = z.strictObject({
  group: idSchema,
  to: member,
  signal: z.string().max(MESH_LIMITS.signalCharacters),
})
/** Whom this tab has an open channel to, whenever that changes, and how fast it sent to them in its last exchange. */
export const linkedSchema = z.strictObject({
  group: idSchema,
  with: members,
  bytesPerSecond: z.number().nonnegative().max(1e12).nullable(),
})
/** A contribution is ready; the hashes commit to its bytes. Answered with an OfferAnswer. */
export const offerSchema = z.strictObject({
  group: idSchema,
  lease: idSchema,
  steps: z.number().int().min(1).max(1_000_000),
  loss: z.number().min(0).max(1_000),
  sha256: hashSchema,
  /** One for each of the group's slices. */
  slices: z.array(hashSchema).max(MESH_LIMITS.members),
})
/** Direct: the exchange is not to be; send the contribution to the coordinator. */
export const offerAnswerSchema = z.union([
  z.strictObject({ exchange: idSchema }),
  z.strictObject({ direct: z.string() }),
])
export type OfferAnswer = z.infer<typeof offerAnswerSchema>
/** A reducer has these members' slices of all the slices that it reduces, and found them as committed. */
export const heldSchema = z.strictObject({ exchange: idSchema, from: members })
/** This tab cannot go on with the exchange. */
export const quitSchema = z.strictObject({ exchange: idSchema, why: z.string().max(200) })

// Coordinator → tab.

export const iceServerSchema = z.strictObject({
  urls: z.union([z.string(), z.array(z.string())]),
  username: z.string().optional(),
  credential: z.string().optional(),
})
export const groupSchema = z.strictObject({
  group: idSchema,
  run: idSchema,
  size: z.number().int().min(2).max(MESH_LIMITS.members),
  /** This tab's place in it. Of two members the one with the lower index begins. */
  index: member,
  iceServers: z.array(iceServerSchema).max(MESH_LIMITS.iceServers),
})
export type GroupMessage = z.infer<typeof groupSchema>
export const groupOverSchema = z.strictObject({ group: idSchema, why: z.string() })
export const relayedSchema = z.strictObject({
  group: idSchema,
  from: member,
  signal: z.string().max(MESH_LIMITS.signalCharacters),
})
/** Everybody who is to take part has offered: send slice s to reducers[s]. */
export const exchangeSchema = z.strictObject({
  exchange: idSchema,
  group: idSchema,
  codec: z.enum(CODEC_NAMES),
  /** Values of the whole contribution. */
  parameters: z.number().int().positive(),
  members: z.array(z.strictObject({ index: member, slices: z.array(hashSchema) })),
  reducers: members,
})
export type ExchangeMessage = z.infer<typeof exchangeSchema>
/** Sets of one exchange, counted from 1: each is smaller than the one before. */
const attempt = z.number().int().min(0).max(MESH_LIMITS.members)
/**
 * The mean is over exactly these, with these weights in tokens, in this order. Reduce, and send the means. Comes again with
 * a smaller set when a member is lost whose bytes are needed; means of an earlier attempt are of no use then.
 */
export const reduceSchema = z.strictObject({
  exchange: idSchema,
  attempt,
  set: z.array(z.strictObject({ index: member, weight: z.number().positive() })),
})
export type ReduceMessage = z.infer<typeof reduceSchema>
/** Send your own slice to the coordinator: who was to reduce it is gone, or it is looked at by chance. Null: all of it. */
export const ownSchema = z.strictObject({ exchange: idSchema, slice: member.nullable() })
/** How it ended for this tab: with a receipt, or without one: then the contribution is to be sent directly. */
export const settledSchema = z.strictObject({
  exchange: idSchema,
  receipt: receiptSchema.nullable(),
  why: z.string(),
})

export const exchangeParamsSchema = z.strictObject({
  exchange: idSchema,
  slice: z.coerce.number().pipe(member),
})
export const exchangeQuerySchema = z.strictObject({
  kind: z.enum(['mean', 'own', 'whole']),
  /** Of a mean. */
  attempt: z.coerce.number().pipe(attempt).default(0),
  sha256: hashSchema,
  offset: z.coerce.number().int().nonnegative().default(0),
})
export type PieceKind = z.infer<typeof exchangeQuerySchema>['kind']
/** Of an exchange, on its way to the coordinator; a mean is over the set of `attempt`. */
export interface ExchangePiece {
  readonly kind: PieceKind
  readonly slice: number
  readonly attempt: number
}

// Tab → tab, before the bytes of a message. `bytes` of them follow.

const bytes = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER)
export const peerHeaderSchema = z.discriminatedUnion('kind', [
  /** The sender's own slice, for its reducer. */
  z.strictObject({ kind: z.literal('slice'), exchange: idSchema, slice: member, bytes }),
  /** Bytes first to end of a blob of `total` bytes, which the sender fetched. */
  z.strictObject({ kind: z.literal('blob'), hash: hashSchema, first: bytes, total: bytes, bytes }),
])
export type PeerHeader = z.infer<typeof peerHeaderSchema>
