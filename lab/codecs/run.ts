/** One run: rounds of inner steps and outer steps, replicas in turn in this process. Rules are in RULES.md. */
import { CODECS } from '../../shared/codec/codec.ts'
import { type OuterStep, outerLearningRate } from '../../shared/diloco/outer.ts'
import type { Engine, TrainJob } from '../../shared/engine/engine.ts'
import { createTfjsEngine } from '../../shared/engine/tfjs/createTfjsEngine.ts'
import { nodeWasmPaths } from '../../shared/engine/tfjs/nodeWasmPaths.ts'
import { initialParameters } from '../../shared/model/initial.ts'
import { fragments as cutInto } from '../../shared/model/layout.ts'
import { type Corpus, openLeases } from '../common/corpus.ts'
import { type GlobalFragment, merge, startFragments, wholeModel } from './globalModel.ts'
import {
  adopt,
  type Checkpoint,
  type Contribution,
  contribute,
  type Replica,
  startReplica,
  trainReplica,
} from './replica.ts'
import { type Cell, downlinkOf, type Settings, totalSteps } from './settings.ts'

/** What runs need and leave as they found it; engines are set anew at each start. */
export interface Bench {
  readonly settings: Settings
  readonly corpus: Corpus
  /** One for each replica. */
  readonly engines: readonly Engine[]
  /** Evaluates. */
  readonly judge: Engine
}

export interface RunResult {
  /** Nats per token: the mean of the evaluations. */
  readonly valLoss: number
  /** Nats per token of the warm checkpoint. */
  readonly startLoss: number
  /** Sent by one replica in the whole run. */
  readonly bytesUp: number
  /** Received by one replica in the whole run, beside the start. */
  readonly bytesDown: number
  /** Of computing, the process's own. */
  readonly seconds: number
}

export async function openBench(settings: Settings, corpus: Corpus): Promise<Bench> {
  const open = () => createTfjsEngine({ backend: 'wasm', config: settings.model, wasmPaths: nodeWasmPaths() })
  const engines: Engine[] = []
  for (let m = 0; m < settings.replicas; m++) engines.push(await open())
  return { settings, corpus, engines, judge: await open() }
}

const warmSequences = (s: Settings) => s.warmSteps * s.replicas * s.batchSize

/** [S7] Plain data parallelism from the initial weights to where runs part: one engine and the batch of all. */
export async function warmUp({ settings, corpus, judge: engine }: Bench, seed: string): Promise<Checkpoint> {
  const parameters = initialParameters(settings.model, seed)
  const zeros = () => new Float32Array(parameters.length)
  engine.setParameters(parameters)
  engine.setOptimiserState({ firstMoment: zeros(), secondMoment: zeros(), updates: 0 })
  if (settings.warmSteps > 0) {
    const batchSize = settings.replicas * settings.batchSize
    const sequences = openLeases(corpus, seed, 0)(warmSequences(settings))
    await engine.train({ ...jobOf(settings, 0, settings.warmSteps), sequences, batchSize })
  }
  return {
    parameters: await engine.getParameters(),
    optimiser: await engine.getOptimiserState(),
    valLoss: await evaluate(engine, corpus),
  }
}

function jobOf(s: Settings, firstStep: number, steps: number): Omit<TrainJob, 'sequences'> {
  const peakLearningRate = s.innerLearningRate
  return { steps, batchSize: s.batchSize, firstStep, totalSteps: totalSteps(s), peakLearningRate }
}

/** What is on its way to the replicas while they train on. */
interface Delivery {
  readonly fragment: number
  /** θ̂ of the fragment. */
  readonly weights: Float32Array
  /** Of each replica, when it contributed. */
  readonly marks: readonly Float32Array[]
}

interface Run {
  readonly bench: Bench
  readonly cell: Cell
  readonly replicas: readonly Replica[]
  readonly global: readonly GlobalFragment[]
  /** The tokens of the next so many sequences. */
  readonly lease: (count: number) => Uint16Array<ArrayBuffer>
  /** Inner steps of a round. */
  readonly steps: number
  delivery: Delivery | null
}

export async function simulate(bench: Bench, cell: Cell, seed: string, warm: Checkpoint): Promise<RunResult> {
  const { settings } = bench
  const clock = process.cpuUsage()
  const run = start(bench, cell, seed, cell.twin ? nudged(warm) : warm)
  const rounds = settings.synchronisations * cell.fragments
  const losses: number[] = []
  let [bytesUp, bytesDown] = [0, 0]
  for (let round = 1; round <= rounds; round++) {
    const spent = await playRound(run, round)
    bytesUp += spent.bytesUp
    bytesDown += spent.bytesDown
    if (isMeasured(settings, cell, rounds - round)) losses.push(await measure(run))
  }
  const valLoss = losses.reduce((sum, loss) => sum + loss, 0) / losses.length
  const { user, system } = process.cpuUsage(clock)
  return { valLoss, startLoss: warm.valLoss, bytesUp, bytesDown, seconds: (user + system) / 1e6 }
}

function start(bench: Bench, cell: Cell, seed: string, from: Checkpoint): Run {
  const { settings, corpus, engines } = bench
  const cut = cutInto(settings.model, cell.fragments)
  const steps = settings.innerSteps / cell.fragments
  if (!Number.isInteger(steps) || (cell.overlap && steps < 2)) {
    throw new RangeError(`${settings.innerSteps} inner steps cannot be cut into ${cell.fragments} rounds.`)
  }
  return {
    bench,
    cell,
    replicas: engines.map((engine) => startReplica(engine, from, cut)),
    global: startFragments(from.parameters, cut),
    lease: openLeases(corpus, seed, warmSequences(settings)),
    steps,
    delivery: null,
  }
}

/** Every parameter one unit in the last place further from zero. */
function nudged({ parameters, ...rest }: Checkpoint): Checkpoint {
  const bits = new Uint32Array(parameters.slice().buffer).map((value) => value + 1)
  return { parameters: new Float32Array(bits.buffer), ...rest }
}

const isMeasured = (settings: Settings, { fragments }: Cell, roundsLeft: number) =>
  roundsLeft % fragments === 0 && roundsLeft / fragments < settings.evaluations

function measure({ bench, global }: Run): Promise<number> {
  bench.judge.setParameters(wholeModel(global))
  return evaluate(bench.judge, bench.corpus)
}

async function evaluate(engine: Engine, { heldOut }: Corpus): Promise<number> {
  const { nats, tokens } = await engine.evaluate(heldOut)
  return nats / tokens
}

/** [S1] */
async function playRound(run: Run, round: number): Promise<{ bytesUp: number; bytesDown: number }> {
  const { cell, replicas, global } = run
  const fragment = (round - 1) % cell.fragments
  const uplink = CODECS[cell.codec]
  const contributions: Contribution[] = []
  for (const [m, { engine, tracks }] of replicas.entries()) {
    await trainRound(run, m, round)
    contributions.push(await contribute(at(tracks, fragment), engine, uplink, cell.decay))
  }
  const downlink = CODECS[downlinkOf(cell.codec)]
  const bytesDown = merge(at(global, fragment), contributions, { uplink, downlink, outer: outerOf(run) })
  const marks = contributions.map(({ mark }) => mark)
  run.delivery = { fragment, weights: at(global, fragment).weights.slice(), marks }
  if (!cell.overlap) await deliverToAll(run)
  return { bytesUp: uplink.byteLength(at(global, fragment).weights.length), bytesDown }
}

function outerOf({ bench: { settings }, cell }: Run): OuterStep {
  if (cell.outer === 'plain') return { learningRate: 1, momentum: 0 }
  const learningRate = outerLearningRate(settings.outerLearningRate, settings.replicas)
  return { learningRate, momentum: settings.outerMomentum }
}

/** [S3] The round's steps of replica m, with what is still on its way arriving after the first third of them. */
async function trainRound(run: Run, m: number, round: number): Promise<void> {
  const { bench, steps } = run
  const { batchSize, warmSteps, model } = bench.settings
  const replica = at(run.replicas, m)
  const sequences = run.lease(steps * batchSize)
  const train = async (from: number, to: number) => {
    const part = sequences.subarray(
      from * batchSize * (model.sequenceLength + 1),
      to * batchSize * (model.sequenceLength + 1),
    )
    const firstStep = warmSteps + (round - 1) * steps + from
    await trainReplica(replica, { ...jobOf(bench.settings, firstStep, to - from), sequences: part })
  }
  const arrival = run.delivery === null ? 0 : Math.max(1, Math.floor(steps / 3))
  if (run.delivery !== null) {
    await train(0, arrival)
    await deliver(replica, run.delivery, m)
  }
  await train(arrival, steps)
}

const deliver = ({ engine, tracks }: Replica, { fragment, weights, marks }: Delivery, m: number) =>
  adopt(at(tracks, fragment), engine, weights, at(marks, m))

async function deliverToAll(run: Run): Promise<void> {
  if (run.delivery === null) return
  for (const [m, replica] of run.replicas.entries()) await deliver(replica, run.delivery, m)
  run.delivery = null
}

function at<T>(list: readonly T[], index: number): T {
  const item = list[index]
  if (item === undefined) throw new RangeError(`There are ${list.length}, no number ${index}.`)
  return item
}
