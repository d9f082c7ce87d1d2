/** The plans of one replica, each compiled when it is first asked for. */
import { type CompileProgress, compile, type Executable } from './executor.ts'
import type { Plan } from './plan.ts'
import type { Replica } from './replica.ts'
import {
  type EvaluationPlan,
  evaluationPlan,
  type NextPlan,
  nextPlan,
  type TrainingPlan,
  trainingPlan,
} from './step.ts'

/** A plan that can be run. */
export interface Ready<P extends Plan> {
  readonly plan: P
  readonly executable: Executable
}

export interface Plans {
  /** For so many sequences at once. The one before it is given up: memory is for one. */
  training(microBatch: number): Promise<Ready<TrainingPlan>>
  evaluation(): Promise<Ready<EvaluationPlan>>
  next(): Promise<Ready<NextPlan>>
  dispose(): void
}

/** Tokens evaluated at once, at least one sequence. */
const EVALUATION_TOKENS = 1_024

export interface PlanOptions {
  readonly recomputes?: boolean
  readonly progress?: (progress: CompileProgress) => void
}

export function makePlans(replica: Replica, { recomputes, progress }: PlanOptions): Plans {
  const { state, choices, config } = replica
  const prepare = async <P extends Plan>(plan: P): Promise<Ready<P>> => {
    return { plan, executable: await compile(replica.open, plan, replica.memory, progress) }
  }
  const slot = <P extends Plan>(make: (size: number) => P) => {
    let kept: { size: number; ready: Promise<Ready<P>> } | null = null
    const drop = () => {
      // Of what failed to compile there is nothing to free.
      void kept?.ready.then(({ executable }) => executable.dispose()).catch(() => {})
      kept = null
    }
    const get = (size: number) => {
      if (kept?.size !== size) {
        drop()
        kept = { size, ready: prepare(make(size)) }
      }
      return kept?.ready as Promise<Ready<P>> // set above
    }
    return { get, drop }
  }
  const training = slot((sequences) => trainingPlan({ state, choices, sequences, recomputes }))
  const evaluation = slot((sequences) => evaluationPlan({ state, choices, sequences }))
  const next = slot(() => nextPlan({ state, choices }))
  return {
    training: training.get,
    evaluation: () => evaluation.get(Math.max(1, Math.floor(EVALUATION_TOKENS / config.sequenceLength))),
    next: () => next.get(1),
    dispose() {
      for (const { drop } of [training, evaluation, next]) drop()
    },
  }
}
