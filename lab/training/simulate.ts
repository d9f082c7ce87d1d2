/**
 * One training run with the production engine, outer step and codecs: replicas in turn on one engine, each with its own
 * moments. Rules are in RULES.md.
 */
import { CODECS } from '../../shared/codec/codec.ts'
import { encodeWithFeedback } from '../../shared/codec/feedback.ts'
import { applyOuterStep, pseudoGradient } from '../../shared/diloco/outer.ts'
import { type Engine, EngineError, type OptimiserState } from '../../shared/engine/engine.ts'
import { localWarmup } from '../../shared/engine/schedule.ts'
import { initialParameters } from '../../shared/model/initial.ts'
import { parameterLayout } from '../../shared/model/layout.ts'
import { randomFrom } from '../../shared/model/random.ts'
import { type Corpus, openLeases } from '../common/corpus.ts'
import { rdaSum, type Weighted, weightedSum } from './merge.ts'
import { type Round, roundsOf, stepsOf } from './plan.ts'
import type { Outcome, Spec } from './spec.ts'

interface Replica {
  optimiser: OptimiserState
  readonly residual: Float32Array
  /** It came when others had trained already. */
  readonly late: boolean
}

/** Nats per token that stand for a run whose loss was no number: worse than anything that has one. */
export const DIVERGED = 99

/** Steps of data parallelism that are leased at once. */
const CHUNK = 64

export async function simulate(engine: Engine, corpus: Corpus, spec: Spec): Promise<Outcome> {
  const clock = process.cpuUsage()
  const lease = openLeases(corpus, spec.seed, 0)
  const initial = initialParameters(spec.model, spec.seed)
  const job = { engine, spec, lease, initial }
  const spent = await trained(job)
  const { nats, tokens: predicted } = await engine.evaluate(corpus.heldOut)
  const { user, system } = process.cpuUsage(clock)
  const loss = spent === null ? DIVERGED : Math.min(DIVERGED, nats / predicted)
  return { ...(spent ?? { bytesUp: 0, tokens: 0, rounds: 0 }), loss, seconds: (user + system) / 1e6 }
}

/** Null for a run that diverged. */
async function trained(job: Job): Promise<Spent | null> {
  try {
    return await (job.spec.replicas === null ? trainParallel(job) : trainDiloco(job))
  } catch (error) {
    if (!(error instanceof EngineError) || error.code !== 'engine/not-finite') throw error
    job.engine.setParameters(job.initial)
    return null
  }
}

interface Job {
  readonly engine: Engine
  readonly spec: Spec
  readonly lease: (count: number) => Uint16Array<ArrayBuffer>
  readonly initial: Float32Array<ArrayBuffer>
}

type Spent = Pick<Outcome, 'bytesUp' | 'tokens' | 'rounds'>

/** Leaves the final weights in the engine. */
async function trainParallel({ engine, spec, lease, initial }: Job): Promise<Spent> {
  engine.setParameters(initial)
  engine.setOptimiserState(emptyMoments(initial.length))
  const totalSteps = stepsOf(spec)
  for (let firstStep = 0; firstStep < totalSteps; firstStep += CHUNK) {
    const steps = Math.min(CHUNK, totalSteps - firstStep)
    const sequences = lease(steps * spec.batch)
    await engine.train({
      sequences,
      steps,
      batchSize: spec.batch,
      firstStep,
      totalSteps,
      peakLearningRate: spec.innerLearningRate,
    })
  }
  const tokens = totalSteps * spec.batch * spec.model.sequenceLength
  return { bytesUp: 4 * initial.length * totalSteps, tokens, rounds: 0 }
}

/** Leaves the final global weights in the engine. */
async function trainDiloco(job: Job): Promise<Spent> {
  const { engine, spec, initial } = job
  const codec = CODECS[spec.codec]
  const layout = parameterLayout(spec.model)
  const global = initial.slice()
  const velocity = new Float32Array(global.length)
  const replicas = Array.from({ length: spec.replicas ?? 1 }, () => newcomer(global.length, false))
  const chance = randomFrom(`trouble/${spec.seed}`)
  const { drops = 0, newcomers = 0 } = spec.trouble
  const plan = roundsOf(spec)
  let [bytesUp, tokens] = [0, 0]
  for (const round of plan) {
    const contributions: Weighted[] = []
    for (const [m, steps] of round.steps.entries()) {
      if (chance() < newcomers && round.first > 0) replicas[m] = newcomer(global.length, true)
      const replica = replicas[m] as Replica // a round has no more than M
      const trained = steps * round.batch * spec.model.sequenceLength
      tokens += trained
      const local = await trainReplica(job, replica, global, { ...round, count: steps })
      if (chance() < drops) continue
      const bytes = encodeWithFeedback(codec, pseudoGradient(global, local), replica.residual, 1)
      bytesUp += bytes.length
      contributions.push({ delta: codec.decode(bytes, global.length), weight: trained })
    }
    if (contributions.length === 0) continue
    const sum =
      spec.merge === 'rda' ? rdaSum(contributions, layout) : weightedSum(contributions, global.length)
    const weight = contributions.reduce((total, one) => total + one.weight, 0)
    applyOuterStep(global, velocity, sum, weight, {
      learningRate: spec.outerLearningRate,
      momentum: spec.outerMomentum,
    })
  }
  engine.setParameters(global)
  return { bytesUp, tokens, rounds: plan.length }
}

/** The replica's `count` steps of a round from the global weights on. Keeps its moments. */
async function trainReplica(
  { engine, spec, lease }: Job,
  replica: Replica,
  global: Float32Array,
  { first, batch, total, count }: Round & { count: number },
): Promise<Float32Array<ArrayBuffer>> {
  engine.setParameters(global)
  engine.setOptimiserState(replica.optimiser)
  const sequences = lease(count * batch)
  const width = batch * (spec.model.sequenceLength + 1)
  const train = (from: number, to: number, peakLearningRate: number) =>
    engine.train({
      sequences: sequences.subarray(from * width, to * width),
      steps: to - from,
      batchSize: batch,
      firstStep: first + from,
      totalSteps: total,
      peakLearningRate,
    })
  let done = 0
  if (replica.late && spec.trouble.warmUp === false) {
    // The engine warms up by itself: undone step by step. [T7]
    for (let { updates } = replica.optimiser; localWarmup(updates) < 1 && done < count; updates++, done++) {
      await train(done, done + 1, spec.innerLearningRate / localWarmup(updates))
    }
  }
  if (done < count) await train(done, count, spec.innerLearningRate)
  replica.optimiser = await engine.getOptimiserState()
  return engine.getParameters()
}

const newcomer = (parameters: number, late: boolean): Replica => ({
  optimiser: emptyMoments(parameters),
  residual: new Float32Array(parameters),
  late,
})

const emptyMoments = (parameters: number): OptimiserState => ({
  firstMoment: new Float32Array(parameters),
  secondMoment: new Float32Array(parameters),
  updates: 0,
})
