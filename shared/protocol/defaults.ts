/** What the operator's form starts with, per preset. */
import type { PresetName } from '../model/config.ts'
import type { RunConfig } from './run.ts'
import { USUAL_TASKS } from './tasks.ts'

const COMMON = {
  corpus: null,
  outerLearningRate: 'auto',
  outerMomentum: 0.9,
  seed: 'potluck',
  fragments: 1,
  codec: 'int8',
  downlink: 'int8',
  errorFeedback: 1,
  overlap: true,
  strict: false,
  groupSize: 4,
  auditRate: 0.05,
  evaluation: 'auto',
  tasks: USUAL_TASKS,
} as const

const KEPT = { last: 3, best: 1 }

/** Sane values for a first run; the larger presets follow the paper's joint fit for four replicas. */
export function defaultRunConfig(preset: PresetName): RunConfig {
  const common = { ...COMMON, preset, replicas: 4, quorum: 2 }
  switch (preset) {
    case 'nano':
      return {
        ...common,
        name: 'First supper',
        innerSteps: 100,
        batchSize: 8,
        deadlineSeconds: 180,
        rounds: 20,
        innerLearningRate: 4e-3,
        checkpoints: { ...KEPT, every: 5 },
      }
    case 'micro':
      return {
        ...common,
        name: 'Weekday dinner',
        innerSteps: 100,
        batchSize: 8,
        deadlineSeconds: 600,
        rounds: 100,
        innerLearningRate: 3e-3,
        checkpoints: { ...KEPT, every: 20 },
      }
    case 'mini':
      return {
        ...common,
        name: 'Sunday roast',
        innerSteps: 50,
        batchSize: 8,
        deadlineSeconds: 1_800,
        rounds: 400,
        innerLearningRate: 2e-3,
        checkpoints: { ...KEPT, every: 100 },
      }
    default:
      return {
        ...common,
        name: 'The banquet',
        innerSteps: 30,
        batchSize: 8,
        deadlineSeconds: 7_200,
        rounds: 2_000,
        innerLearningRate: 1e-3,
        checkpoints: { ...KEPT, every: 500 },
      }
  }
}
