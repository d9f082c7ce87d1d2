/** What a simulated swarm did and cost, with the schema by which finished ones are read back. */
import { z } from 'zod'
import { CODEC_NAMES } from '../../shared/codec/codec.ts'
import { PRESET_NAMES } from '../../shared/model/config.ts'

const amount = z.number().nonnegative()

export const swarmSchema = z.strictObject({
  /** Enrolled; about half of them are there at a time. */
  volunteers: z.number().int().positive(),
  seed: z.string(),
  preset: z.enum(PRESET_NAMES),
  /** H. */
  innerSteps: z.number().int().positive(),
  batchSize: z.number().int().positive(),
  /** Contributions that close a round, at most 256 in production. */
  replicas: z.number().int().positive(),
  codec: z.enum(CODEC_NAMES),
  overlap: z.boolean(),
  /** The simulation ends after so many rounds, or so many hours if that comes first. */
  rounds: z.number().int().positive(),
  hours: z.number().positive(),
})
export type Swarm = Readonly<z.infer<typeof swarmSchema>>

const costsSchema = z.strictObject({
  events: amount,
  /** Milliseconds of CPU in the driver and machine, commits not counted. */
  machine: amount,
  commits: amount,
  /** Milliseconds of CPU in making the JSON of commits. */
  commit: amount,
  commitBytes: amount,
  /** Leases that were given out. */
  granted: amount,
})
export type Costs = z.infer<typeof costsSchema>

export const resultSchema = z.strictObject({
  swarm: swarmSchema,
  /** Seconds simulated, and rounds merged in them. */
  seconds: amount,
  rounds: amount,
  /** Mean of volunteers there. */
  present: amount,
  /** Of contributions that were accepted. */
  tokens: amount,
  accepted: amount,
  refused: amount,
  /** Times that somebody asked for a lease. */
  asked: amount,
  /** Volunteer-seconds: there, in training that was accepted, and in training that was not. */
  presentSeconds: amount,
  usefulSeconds: amount,
  lostSeconds: amount,
  /** Bytes that the coordinator received and sent. */
  bytesIn: amount,
  bytesOut: amount,
  costs: costsSchema,
  /** The machine as JSON at the end, and what a commit keeps on average. */
  stateBytes: amount,
  keptBytes: amount,
})
export type SwarmResult = Readonly<z.infer<typeof resultSchema>>
