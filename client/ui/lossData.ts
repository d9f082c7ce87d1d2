/**
 * What the loss chart shows, worked out without a canvas: points, axis range, label places, sentences, CSV.
 * plot.ts paints it.
 */
import type { RoundSummary } from '../../shared/protocol/run.ts'
import { clock, compact, integer, loss, significant } from './format.ts'
import { strings } from './strings.ts'

export interface LossPoint {
  /** 0 is the untrained model. */
  readonly round: number
  /** Accepted tokens so far. */
  readonly tokens: number
  readonly heldOut: number | null
  readonly training: number | null
  /** Of the held-out text, in bits for a byte. */
  readonly bits: number | null
  readonly replicas: number | null
  /** Unix milliseconds. */
  readonly closedAt: number | null
}

/** Oldest first. The untrained model is the first point when its loss is known. */
export function lossPoints(
  history: readonly RoundSummary[],
  initialValLoss: number | null,
  initialBits: number | null = null,
): LossPoint[] {
  const points: LossPoint[] = history.map((round) => ({
    round: round.round,
    tokens: round.totalTokens,
    heldOut: round.valLoss,
    training: round.trainLoss,
    bits: round.bitsPerByte,
    replicas: round.replicas,
    closedAt: round.closedAt,
  }))
  points.sort((a, b) => a.round - b.round)
  if (initialValLoss === null) return points
  const untrained = { round: 0, tokens: 0, training: null, replicas: null, closedAt: null }
  return [{ ...untrained, heldOut: initialValLoss, bits: initialBits }, ...points]
}

export const METRICS = ['loss', 'perplexity', 'bits'] as const
export type Metric = (typeof METRICS)[number]

/** Of a cross entropy in nats a token: among how many equally likely tokens the model is as good as guessing. */
export const perplexity = (nats: number | null) => (nats === null ? null : Math.exp(nats))

/** The points with both lines in another measure. Bits per byte are known of the held-out text only. */
export function inMetric(points: readonly LossPoint[], metric: Metric): readonly LossPoint[] {
  switch (metric) {
    case 'loss':
      return points
    case 'perplexity':
      return points.map((p) => ({ ...p, heldOut: perplexity(p.heldOut), training: perplexity(p.training) }))
    case 'bits':
      return points.map((p) => ({ ...p, heldOut: p.bits, training: null }))
    default:
      return metric satisfies never
  }
}

/** A value of either line as text. */
export const metricText = (metric: Metric) => (metric === 'perplexity' ? significant : loss)

/** The newest point that has a held-out loss. */
export const lastHeldOut = (points: readonly LossPoint[]) =>
  points.findLast((point) => point.heldOut !== null)

/** Rounds from which the steep start is cut off, unless the reader asks for it. */
export const CLIP_FROM_POINTS = 50
/** Share of all tokens that is cut. */
const CLIP_SHARE = 0.02

/** True when the range leaves out the start of the run. */
export const isClipped = (points: readonly LossPoint[], full: boolean) =>
  !full && points.length >= CLIP_FROM_POINTS

/** Weight of the past in the smoothed training loss. */
const SMOOTHING = 0.6

/**
 * Exponential moving average, freed of its pull towards the start: each value is divided by the weight seen so
 * far, as Weights & Biases does. Unknown values stay unknown and move nothing.
 */
export function smooth(values: readonly (number | null)[]): (number | null)[] {
  let average = 0
  let weight = 0
  return values.map((value) => {
    if (value === null) return null
    average = SMOOTHING * average + (1 - SMOOTHING) * value
    weight = SMOOTHING * weight + (1 - SMOOTHING)
    return average / weight
  })
}

/** Short runs are drawn as they are; in long ones the noise would hide the line. */
export const isSmoothed = (points: readonly LossPoint[]) => points.length >= CLIP_FROM_POINTS

/** Lowest and highest loss to show, with a twentieth of air on both sides. */
export function lossRange(points: readonly LossPoint[], full: boolean): [number, number] {
  const from = isClipped(points, full) ? (points.at(-1)?.tokens ?? 0) * CLIP_SHARE : 0
  const shown = points
    .filter((point) => point.tokens >= from)
    .flatMap((point) => [point.heldOut, point.training])
    .filter((value) => value !== null)
  if (shown.length === 0) return [0, 1]
  const low = Math.min(...shown)
  const high = Math.max(...shown)
  const air = high > low ? (high - low) / 20 : 0.1
  return [low - air, high + air]
}

/** Moves labels apart so that neighbours keep `gap`; the order stays, and none moves up past its own place. */
export function spreadLabels(places: readonly number[], gap: number): number[] {
  const order = places.map((place, index) => ({ place, index })).sort((a, b) => a.place - b.place)
  const spread = [...places]
  let free = Number.NEGATIVE_INFINITY
  for (const { place, index } of order) {
    const next = Math.max(place, free)
    spread[index] = next
    free = next + gap
  }
  return spread
}

const change = (from: number, to: number) => {
  const by = loss(Math.abs(to - from))
  if (by === loss(0)) return strings.chart.unchanged
  return to < from ? strings.chart.down(by) : strings.chart.up(by)
}

/** The chart in one sentence. */
export function lossSummary(points: readonly LossPoint[]): string {
  const words = strings.chart
  const newest = points.at(-1)
  const first = points[0]
  if (newest === undefined || first === undefined) return words.summaryNone
  const held = lastHeldOut(points)
  if (held === undefined || held.heldOut === null)
    return words.summaryTraining(loss(newest.training), newest.round)
  if (held.round === 0) {
    return newest.round === 0
      ? words.summaryFirst(loss(held.heldOut))
      : words.summaryTraining(loss(newest.training), newest.round)
  }
  if (first.round !== 0 || first.heldOut === null) return words.summary(loss(held.heldOut), held.round)
  return words.summaryFrom(
    loss(held.heldOut),
    change(first.heldOut, held.heldOut),
    loss(first.heldOut),
    held.round,
  )
}

export const pointName = (point: LossPoint) =>
  point.round === 0 ? strings.chart.untrained : strings.round(integer(point.round))

/** One point in words, for the readout and for the keyboard. */
export function pointText(point: LossPoint): string {
  const more =
    point.replicas === null || point.closedAt === null
      ? ''
      : strings.chart.pointMore(point.replicas, clock(point.closedAt))
  return strings.chart.point({
    name: pointName(point),
    tokens: compact(point.tokens),
    heldOut: loss(point.heldOut),
    measures: point.heldOut === null ? '' : measuresText(point),
    training: loss(point.training),
    more,
  })
}

const measuresText = ({ heldOut, bits }: LossPoint) =>
  strings.chart.measures(
    significant(perplexity(heldOut)),
    bits === null ? '' : strings.chart.bitsMore(loss(bits)),
  )

export function lossCsv(points: readonly LossPoint[]): string {
  const rows = points.map((point) =>
    [
      point.round,
      point.tokens,
      point.heldOut ?? '',
      point.bits ?? '',
      point.training ?? '',
      point.replicas ?? '',
      point.closedAt === null ? '' : new Date(point.closedAt).toISOString(),
    ].join(','),
  )
  return [
    'round,tokens,held_out_loss,held_out_bits_per_byte,training_loss,updates,closed_at',
    ...rows,
    '',
  ].join('\n')
}

/** Where a key moves the crosshair; null leaves the chart, undefined is not ours. */
export function moveByKey(key: string, index: number | null, length: number): number | null | undefined {
  const at = index ?? length
  const moves: Record<string, number> = {
    ArrowLeft: at - 1,
    ArrowRight: index === null ? length - 1 : at + 1,
    PageUp: at - 10,
    PageDown: at + 10,
    Home: 0,
    End: length - 1,
  }
  if (key === 'Escape') return null
  const target = moves[key]
  return target === undefined ? undefined : Math.min(length - 1, Math.max(0, target))
}
