/** Which replicas take how many steps in which round, so that all together train the tokens asked for. Pure arithmetic. */
import type { Spec } from './spec.ts'

export interface Round {
  /** Global step of its first inner step. */
  readonly first: number
  /** By replica: inner steps. */
  readonly steps: readonly number[]
  /** Sequences of one step of one replica. */
  readonly batch: number
  /** T. */
  readonly total: number
}

/** T with everybody at work all the time. */
export const stepsOf = ({ tokens, batch, model }: Spec): number =>
  Math.max(1, Math.round(tokens / (batch * model.sequenceLength)))

/**
 * H steps a round, the last with what is left. A pool that grows or shrinks has as many more rounds as make up for who is
 * missing. Speeds share a round's M·H steps out, everybody at least one.
 * @throws RangeError when the batch is no multiple of M.
 */
export function roundsOf(spec: Spec): Round[] {
  const replicas = spec.replicas ?? 1
  const batch = spec.batch / replicas
  if (!Number.isInteger(batch))
    throw new RangeError(`A batch of ${spec.batch} cannot be shared by ${replicas} replicas.`)
  const shares = spec.trouble.pool ?? [1, 1, 1, 1]
  const working = shares.map((share) => Math.max(1, Math.round(share * replicas)))
  const mean = working.reduce((sum, count) => sum + count, 0) / working.length
  const total = Math.max(1, Math.round((stepsOf(spec) * replicas) / mean))
  const count = Math.ceil(total / spec.innerSteps)
  return Array.from({ length: count }, (_, r) => {
    const first = r * spec.innerSteps
    const steps = Math.min(spec.innerSteps, total - first)
    const members = working[Math.floor((4 * r) / count)] ?? replicas
    return { first, steps: shared(steps, members, spec.trouble.speeds), batch, total }
  })
}

function shared(steps: number, members: number, speeds: readonly number[] = [1]): number[] {
  const own = Array.from({ length: members }, (_, m) => speeds[m % speeds.length] ?? 1)
  const sum = own.reduce((total, speed) => total + speed, 0)
  return own.map((speed) => Math.max(1, Math.round((steps * members * speed) / sum)))
}
