/** What a round cost to send, as the pages say it. */
import { timesLess } from '../../shared/diloco/traffic.ts'
import type { RoundSummary } from '../../shared/protocol/run.ts'

/** Bytes in all and a volunteer, and how many times more data parallelism would have sent. */
export function trafficOf(round: Omit<RoundSummary, 'totalTokens'>, parameters: number) {
  const { replicas, bytesUp, bytesDown } = round
  const each = { up: bytesUp / replicas, down: bytesDown / replicas }
  return { bytes: bytesUp + bytesDown, ...each, times: timesLess(round, parameters) }
}
