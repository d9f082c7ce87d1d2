/**
 * How fast inner steps are: the one way of measuring that the page's choice of a backend and the benchmark share. It
 * measures only; what to measure is client/worker/measureBackend.ts's and lab/bench's question.
 */
import type { Engine, TrainJob } from './engine.ts'

export interface TimedStep {
  /** Cross entropy before the update, nats per token. */
  readonly loss: number
  readonly milliseconds: number
}

export interface MeasureLimits {
  /** Steps after the first one that are not counted either. */
  readonly warmUps: number
  /** Steps counted at least, and at most. */
  readonly least: number
  readonly most: number
  /** Between `least` and `most`: no step begins after so many milliseconds of counted ones. */
  readonly milliseconds: number
}

export interface Measured {
  /** Median over the counted steps. */
  readonly msPerStep: number
  /** Of the counted steps: whatever else a device does can only slow a step. */
  readonly msOfFastest: number
  /** The very first step: what is compiled, is compiled in it. */
  readonly firstStepSeconds: number
  readonly finalLoss: number
}

/** Takes steps 0, 1, 2, … in order. */
export async function measureSteps(
  step: (index: number) => Promise<TimedStep>,
  { warmUps, least, most, milliseconds }: MeasureLimits,
): Promise<Measured> {
  const first = await step(0)
  let last = first
  for (let i = 1; i <= warmUps; i++) last = await step(i)
  const times: number[] = []
  let spent = 0
  while (times.length < least || (times.length < most && spent < milliseconds)) {
    last = await step(1 + warmUps + times.length)
    times.push(last.milliseconds)
    spent += last.milliseconds
  }
  return {
    msPerStep: median(times),
    msOfFastest: Math.min(...times),
    firstStepSeconds: first.milliseconds / 1_000,
    finalLoss: last.loss,
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]]
  return low === undefined || high === undefined ? Number.NaN : (low + high) / 2
}

export type StepJob = Omit<TrainJob, 'sequences' | 'steps' | 'firstStep'>

/** One inner step of an engine, ended by reading its loss. */
export async function timedStep(
  engine: Pick<Engine, 'train'>,
  job: StepJob,
  sequences: Uint16Array,
  index: number,
): Promise<TimedStep> {
  const from = performance.now()
  const { meanLoss } = await engine.train({ ...job, sequences, steps: 1, firstStep: index })
  return { loss: meanLoss, milliseconds: performance.now() - from }
}
