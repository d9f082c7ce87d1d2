/** What all training experiments do around their runs: options, workshop, methods by name, means over seeds. */
import { OUT, readOptions } from '../common/options.ts'
import { publish, type Report, type SavedReport, TERMINAL, type Voice } from '../common/report.ts'
import { type Estimate, estimate } from '../common/statistics.ts'
import { METHODS, type Method, replicasOf } from '../scaling/paper.ts'
import { type Scale, scaleOf, seedsOf, TRAINING_EXTRAS } from './scale.ts'
import type { Spec } from './spec.ts'
import { type Runner, type Tuned, tune } from './tune.ts'
import { Workshop, type WorkshopOptions } from './workshop.ts'

export interface Study {
  readonly scale: Scale
  readonly codec: Spec['codec']
  readonly workshop: Runner
  /** Tuned once, and for all experiments. */
  tuned(method: Method): Promise<Tuned>
  /** Over the seeds of its size. */
  loss(spec: Spec): Promise<Estimate>
  /** Of the first seed alone, to choose by. */
  scan(spec: Spec): Promise<number>
  /** What the first seed finds best; its loss is over all seeds. */
  best(specs: readonly Spec[]): Promise<{ spec: Spec; loss: Estimate }>
}

/** Who does the runs, until closed. */
export type OpenRunner = (options: WorkshopOptions, voice: Voice) => Promise<Runner & { close(): void }>
export const openWorkshop: OpenRunner = (options, voice) => Workshop.open(options, voice)

export interface Surroundings {
  readonly voice?: Voice
  readonly open?: OpenRunner
}

type Body = Omit<Report, 'experiment' | 'command' | 'quick'>

/** All training experiments share one cache in the folder that they write to, unless told otherwise. */
export async function runStudy(
  experiment: string,
  flags: readonly string[],
  { voice = TERMINAL, open = openWorkshop }: Surroundings,
  investigate: (study: Study) => Promise<Body>,
): Promise<SavedReport> {
  const options = readOptions('training', flags, TRAINING_EXTRAS)
  const scale = scaleOf(options)
  const workshop = await open(options, voice)
  const { codec } = options
  const methods = new Map<Method, Promise<Tuned>>()
  const study: Study = {
    scale,
    codec,
    workshop,
    tuned(method) {
      const known = methods.get(method) ?? tune(workshop, scale, replicasIn(method), codec)
      methods.set(method, known)
      return known
    },
    async loss(spec) {
      const runs = seedsOf(scale, spec.model).map((seed) => workshop.run({ ...spec, seed }))
      return estimate((await Promise.all(runs)).map(({ loss }) => loss))
    },
    scan: async (spec) => (await workshop.run({ ...spec, seed: '1' })).loss,
    async best(specs) {
      const scanned = await Promise.all(specs.map(async (spec) => ({ spec, loss: await study.scan(spec) })))
      const { spec } = scanned.reduce((least, one) => (one.loss < least.loss ? one : least))
      return { spec, loss: await study.loss(spec) }
    },
  }
  try {
    const body = await investigate(study)
    const asked = flags.filter((flag, i) => flag !== '--out' && flags[i - 1] !== '--out').join(' ')
    const command = `npm run lab -- ${experiment}${asked === '' ? '' : ` ${asked}`}`
    const quick = scale.name !== 'full'
    return await publish({ experiment, command, quick, ...body }, options.out, voice)
  } finally {
    workshop.close()
  }
}

export const DEFAULT_FOLDER = OUT
export const replicasIn = (method: Method): number | null =>
  method === 'data parallel' ? null : replicasOf(method)
export const methodsUpTo = (replicas: number): readonly Method[] =>
  METHODS.filter((method) => (replicasIn(method) ?? 0) <= replicas)

/** Tuning of several methods goes on side by side. */
export const tunedAll = (study: Study, methods: readonly Method[]): Promise<Tuned[]> =>
  Promise.all(methods.map((method) => study.tuned(method)))

export const percentOf = (value: number, of: number): number => 100 * (value / of - 1)
/** With its sign. */
export const signed = (value: number): string => `${value > 0 ? '+' : ''}${value.toFixed(2)} %`

/** Said of every experiment here. */
export const ABOUT = ({ scale, codec }: Study): string =>
  `Embedded corpus, vocabulary of ${scale.models[0]?.vocabSize}, sequences of ${scale.models[0]?.sequenceLength} tokens, ${scale.tokensAParameter} tokens a parameter, H = ${scale.innerSteps} unless said, ${codec} up, seeds by size ${scale.seeds.join(', ')}. Loss is of the global weights on ${scale.heldOutTokens} validation tokens, nats per token.${scale.name === 'full' ? '' : ' This is the small form: its numbers mean little.'}`

/** In the order in which keys first come. */
export function grouped<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const item of items) {
    const group = groups.get(key(item))
    if (group) group.push(item)
    else groups.set(key(item), [item])
  }
  return groups
}
