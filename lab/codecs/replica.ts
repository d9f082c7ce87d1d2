/**
 * One replica: an engine with its own moments, and what it remembers of the global model. It trains, contributes a
 * fragment and adopts a fragment; when it does so is run.ts's business.
 */
import type { Codec } from '../../shared/codec/codec.ts'
import { encodeWithFeedback } from '../../shared/codec/feedback.ts'
import { pseudoGradient } from '../../shared/diloco/outer.ts'
import { carriedOver } from '../../shared/diloco/overlap.ts'
import type { Engine, OptimiserState, TrainJob } from '../../shared/engine/engine.ts'
import { gathered, type ParameterRange } from '../../shared/model/layout.ts'

/** Everything a replica starts from: the same for all codecs of a seed. */
export interface Checkpoint {
  readonly parameters: Float32Array<ArrayBuffer>
  readonly optimiser: OptimiserState
  /** Its validation loss, nats per token. */
  readonly valLoss: number
}

/** What a replica keeps for one fragment. */
interface Track {
  readonly ranges: readonly ParameterRange[]
  /** θ̂ as this replica last adopted it. */
  base: Float32Array
  readonly residual: Float32Array
  /** Trained since its last contribution. */
  tokens: number
}

export interface Replica {
  readonly engine: Engine
  readonly tracks: readonly Track[]
}

export interface Contribution {
  readonly bytes: Uint8Array
  /** Tokens. */
  readonly weight: number
  /** The replica's own values when it contributed. */
  readonly mark: Float32Array
}

export function startReplica(
  engine: Engine,
  { parameters, optimiser }: Checkpoint,
  cut: readonly ParameterRange[][],
): Replica {
  engine.setParameters(parameters)
  engine.setOptimiserState(optimiser)
  const tracks = cut.map((ranges) => {
    const base = gathered(parameters, ranges).slice()
    return { ranges, base, residual: new Float32Array(base.length), tokens: 0 }
  })
  return { engine, tracks }
}

export async function trainReplica({ engine, tracks }: Replica, job: TrainJob): Promise<void> {
  const { tokens } = await engine.train(job)
  for (const track of tracks) track.tokens += tokens
}

/** [S2, S4] */
export async function contribute(
  track: Track,
  engine: Engine,
  codec: Codec,
  decay: number,
): Promise<Contribution> {
  const mark = await engine.getParameters(track.ranges)
  const bytes = encodeWithFeedback(codec, pseudoGradient(track.base, mark), track.residual, decay)
  const weight = track.tokens
  track.tokens = 0
  return { bytes, weight, mark }
}

/** [S3] local ← θ̂ + (local − mark): the steps made since the mark are kept; without any, local is θ̂ exactly. */
export async function adopt(
  track: Track,
  engine: Engine,
  weights: Float32Array,
  mark: Float32Array,
): Promise<void> {
  const local = await engine.getParameters(track.ranges)
  engine.setParameters(carriedOver(weights, local, mark), track.ranges)
  track.base = weights.slice()
}
