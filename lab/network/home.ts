/**
 * Volunteers at home and one coordinator: how much of the time a tab trains, and what goes over the coordinator's wire.
 * Bytes are those of shared/codec; the order of things is production's (coordinator/rounds/RULES.md L10, R12). Pure.
 */
import { CODECS, type CodecName } from '../../shared/codec/codec.ts'

/** Bits a second, seconds. */
export interface HomeLink {
  readonly up: number
  readonly down: number
  readonly latency: number
}
export const HOME: HomeLink = { up: 10e6, down: 50e6, latency: 30e-3 }

export interface Protocol {
  readonly codec: CodecName
  /** Of the delta that volunteers download. */
  readonly downlink: CodecName
  /** H. */
  readonly innerSteps: number
  /** P. */
  readonly fragments: number
  readonly overlap: boolean
  /** k peers that average among themselves first; 1 is none. */
  readonly group: number
}

export interface Traffic {
  /** Of one volunteer for every parameter once, bytes. */
  readonly up: number
  readonly down: number
  /** Of these, what the coordinator receives and sends for this volunteer. */
  readonly coordinatorIn: number
  readonly coordinatorOut: number
}

/**
 * In a group of k a peer sends each other peer its slice and the coordinator one slice of the sum; then it downloads one slice of
 * the new weights and passes it on. So upload grows by the passing on, and the coordinator's share is 1/k.
 */
export function traffic(parameters: number, { codec, downlink, group }: Protocol): Traffic {
  const sent = CODECS[codec].byteLength(parameters)
  const received = CODECS[downlink].byteLength(parameters)
  const others = (group - 1) / group
  return {
    up: sent + received * others,
    down: received + sent * others,
    coordinatorIn: sent / group,
    coordinatorOut: received / group,
  }
}

/**
 * Share of time in inner steps. A fragment's bytes go up, then the new ones come down. Without overlap the tab waits for
 * them; with it the next lease is trained meanwhile, one ahead and no more, so it waits only for what that does not cover.
 */
export function trainingShare(
  parameters: number,
  secondsAStep: number,
  protocol: Protocol,
  { up, down, latency }: HomeLink,
): number {
  const { innerSteps, fragments, overlap } = protocol
  const bytes = traffic(parameters, protocol)
  const moving = (8 * bytes.up) / up / fragments + (8 * bytes.down) / down / fragments + 4 * latency
  const training = (innerSteps / fragments) * secondsAStep
  return overlap ? training / Math.max(training, moving) : training / (training + moving)
}

/** The least uplink in bits a second, of a link that is `ratio` times as fast down, at which a tab trains so much of the time. */
export function uplinkFor(
  target: number,
  parameters: number,
  secondsAStep: number,
  protocol: Protocol,
  { latency, ratio }: { latency: number; ratio: number },
): number | null {
  const share = (up: number) =>
    trainingShare(parameters, secondsAStep, protocol, { up, down: ratio * up, latency })
  let [low, high] = [1, 1e15]
  if (share(high) < target) return null
  for (let step = 0; step < 100; step++) {
    const middle = Math.sqrt(low * high)
    if (share(middle) >= target) high = middle
    else low = middle
  }
  return high
}
