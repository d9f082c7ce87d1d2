/** From the round machine's effects to the store's rows. What makes the effects is rounds/; who writes the rows is store/. */
import type { Effect } from '../rounds/events.ts'
import { checkpointOf, type Machine } from '../rounds/state.ts'
import type { Commit } from '../store/metadata.ts'

/** The rows that an event's effects stand for. */
export function commitOf(
  machine: Machine,
  effects: readonly Effect[],
  now: number,
  bytesDown: number,
): Commit {
  const of = <T extends Effect['type']>(type: T) =>
    effects.filter((effect): effect is Extract<Effect, { type: T }> => effect.type === type)
  const closed = of('round-closed')[0]?.closed
  return {
    machine,
    granted: of('granted').map(({ id, lease: { volunteer, round, steps, ranges } }) => ({
      id,
      volunteer,
      round,
      steps,
      ranges,
    })),
    ended: of('lease-ended'),
    accepted: of('accepted'),
    refused: of('refused'),
    closed: closed ? { ...closed, bytesDown, checkpoint: checkpointOf(machine) } : null,
    rolledBack: of('rolled-back')[0]?.rolledBack ?? null,
    bytesDown: closed ? 0 : bytesDown,
    now,
  }
}
