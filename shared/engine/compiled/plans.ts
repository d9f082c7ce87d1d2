/** The plans of one replica, each compiled when it is first asked for. */
import type { TrainJob } from '../engine.ts'
import { predictPeakBytes } from '../tfjs/peakBytes.ts'
import { type CompileProgress, compile, type Executable } from './executor.ts'
import { withoutLongDispatches } from './longDispatches.ts'
import type { Plan } from './plan.ts'
import type { Replica } from './replica.ts'
import {
  type EvaluationPlan,
  evaluationPlan,
  type NextPlan,
  nextPlan,
  type StepShape,
  type TrainingPlan,
  trainingPlan,
} from './step.ts'
import { memoryOf } from './summary.ts'

/** A plan that can be run. */
export interface Ready<P extends Plan> {
  readonly plan: P
  readonly executable: Executable
}

export interface Plans {
  /** For a job's micro-batches. The one before it is given up: memory is for one. */
  training(job: Pick<TrainJob, 'batchSize' | 'microBatch'>): Promise<Ready<TrainingPlan>>
  evaluation(): Promise<Ready<EvaluationPlan>>
  next(): Promise<Ready<NextPlan>>
  dispose(): void
}

/** Tokens evaluated at once, at least one sequence. */
const EVALUATION_TOKENS = 1_024

export interface PlanOptions {
  /**
   * Makes each block's states again in the backward pass: a third more work, and less memory. Default: where a step would
   * otherwise take more memory than was predicted for it.
   */
  readonly recomputes?: boolean
  /** Hears of shaders compiled, out of those a plan needs. */
  readonly progress?: (progress: CompileProgress) => void
  /** Of a dispatch; those that would take longer are split. Default: LONGEST_SECONDS. */
  readonly longestSeconds?: number
}

export function makePlans(replica: Replica, options: PlanOptions): Plans {
  const { state, choices, config, speed } = replica
  const { recomputes, progress, longestSeconds } = options
  const prepare = async <P extends Plan>(whole: P): Promise<Ready<P>> => {
    const plan = withoutLongDispatches(whole, speed, longestSeconds)
    return { plan, executable: await compile(replica.open, plan, replica.memory, progress) }
  }
  const slot = <P extends Plan, Of extends Record<string, number>>(make: (of: Of) => P) => {
    let kept: { key: string; ready: Promise<Ready<P>> } | null = null
    const drop = () => {
      // Of what failed to compile there is nothing to free.
      void kept?.ready.then(({ executable }) => executable.dispose()).catch(() => {})
      kept = null
    }
    const get = (of: Of): Promise<Ready<P>> => {
      const key = JSON.stringify(of)
      if (kept?.key === key) return kept.ready
      drop()
      const ready = prepare(make(of))
      kept = { key, ready }
      return ready
    }
    return { get, drop }
  }
  const training = slot(({ microBatch, batchSize }: { microBatch: number; batchSize: number }) =>
    planThatFits({ state, choices, sequences: microBatch, recomputes }, microBatch < batchSize),
  )
  const evaluation = slot(({ sequences }: { sequences: number }) =>
    evaluationPlan({ state, choices, sequences }),
  )
  const next = slot(() => nextPlan({ state, choices }))
  return {
    training: ({ batchSize, microBatch = batchSize }) => training.get({ microBatch, batchSize }),
    evaluation: () =>
      evaluation.get({ sequences: Math.max(1, Math.floor(EVALUATION_TOKENS / config.sequenceLength)) }),
    next: () => next.get({}),
    dispose() {
      for (const { drop } of [training, evaluation, next]) drop()
    },
  }
}

/**
 * Keeps the blocks' states where that takes no more memory than predictPeakBytes says a step of the TensorFlow.js engine
 * does: by that the page has chosen the micro-batch (client/worker/fit.ts), and that engine is the one to fall back on.
 */
export function planThatFits(shape: StepShape, accumulates: boolean): TrainingPlan {
  if (shape.recomputes !== undefined) return trainingPlan(shape)
  const { state, sequences: microBatch } = shape
  const plan = trainingPlan({ ...shape, recomputes: false })
  const most = predictPeakBytes(state.config, { backend: 'webgpu', microBatch, accumulates })
  return memoryOf(plan).peak <= most ? plan : trainingPlan({ ...shape, recomputes: true })
}
