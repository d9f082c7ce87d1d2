/**
 * Where the training experiments have their runs done: by a crew of processes, each run once. What was done before is
 * taken from the cache, which all of them share, so that rates tuned for one are tuned for all.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { prepareCorpus } from '../../coordinator/corpus/prepare.ts'
import { parameterCount } from '../../shared/model/layout.ts'
import { type Cache, openCache } from '../common/cache.ts'
import type { CorpusPlace } from '../common/corpus.ts'
import { Crew } from '../common/processes.ts'
import { duration } from '../common/progress.ts'
import type { Voice } from '../common/report.ts'
import type { RunTask } from './runProcess.ts'
import { keyOf, type Outcome, type Spec } from './spec.ts'

const number = z.number().nonnegative()
const outcomeSchema: z.ZodType<Outcome> = z.strictObject({
  loss: number,
  tokens: number,
  rounds: number,
  bytesUp: number,
  seconds: number,
})

const RUN_PROCESS = new URL('./runProcess.ts', import.meta.url)

export interface WorkshopOptions {
  readonly out: string
  readonly cache: string
  readonly jobs: number
}

export class Workshop {
  readonly #cache: Cache<Outcome>
  readonly #crew: Crew<RunTask, Outcome>
  readonly #out: string
  readonly #tell: (text: string) => void
  readonly #asked = new Map<string, Promise<Outcome>>()
  readonly #corpora = new Map<string, Promise<CorpusPlace>>()
  /** Of runs that were begun here, in parameters times tokens. */
  #work = { asked: 0, done: 0, runs: 0, finished: 0, began: 0 }

  private constructor(cache: Cache<Outcome>, { out, jobs }: WorkshopOptions, voice: Voice) {
    this.#cache = cache
    this.#out = out
    this.#crew = new Crew(RUN_PROCESS, jobs)
    this.#tell = voice.tell
  }

  static async open(options: WorkshopOptions, voice: Voice): Promise<Workshop> {
    return new Workshop(await openCache(options.cache, outcomeSchema), options, voice)
  }

  /** The same spec is run once, however often it is asked for. */
  run(spec: Spec): Promise<Outcome> {
    const key = keyOf(spec)
    const known = this.#cache.get(key)
    if (known !== undefined) return Promise.resolve(known)
    const asked = this.#asked.get(key) ?? this.#begin(spec, key)
    this.#asked.set(key, asked)
    return asked
  }

  close(): void {
    this.#crew.dismiss()
  }

  async #begin(spec: Spec, key: string): Promise<Outcome> {
    const cost = parameterCount(spec.model) * spec.tokens
    this.#work.asked += cost
    this.#work.runs += 1
    const place = await this.#corpusOf(spec)
    this.#work.began ||= performance.now()
    const outcome = await this.#crew.do({ place, spec })
    await this.#cache.put(key, outcome)
    this.#work.done += cost
    this.#work.finished += 1
    this.#say(spec, outcome)
    return outcome
  }

  /** Of what was asked for so far: tuning asks for more when it knows more. */
  #say(spec: Spec, { loss, seconds }: Outcome): void {
    const { asked, done, runs, finished, began } = this.#work
    const left = duration(((performance.now() - began) / done) * (asked - done))
    this.#tell(
      `${finished}/${runs}, ${left} left. ${nameOf(spec)}: ${loss.toFixed(4)} nats, ${seconds.toFixed(1)} s`,
    )
  }

  /** Made once and kept beside the results. */
  #corpusOf({ model: { vocabSize, sequenceLength } }: Spec): Promise<CorpusPlace> {
    const name = `${vocabSize}-${sequenceLength}`
    const known =
      this.#corpora.get(name) ?? corpusIn(join(this.#out, 'corpus', name), vocabSize, sequenceLength)
    this.#corpora.set(name, known)
    return known
  }
}

async function corpusIn(folder: string, vocabSize: number, sequenceLength: number): Promise<CorpusPlace> {
  await mkdir(folder, { recursive: true })
  const note = join(folder, 'manifest.txt')
  const known = await readFile(note, 'utf8').catch(() => null)
  if (known !== null) return { folder, manifestHash: known }
  const { manifestHash } = await prepareCorpus({
    blobDirectory: folder,
    vocabSize,
    sequenceLength,
    seed: 'lab',
  })
  await writeFile(note, manifestHash)
  return { folder, manifestHash }
}

function nameOf(spec: Spec): string {
  const method =
    spec.replicas === null
      ? 'data parallel'
      : `M=${spec.replicas}, H=${spec.innerSteps}, η ${spec.outerLearningRate}`
  const trouble = JSON.stringify(spec.trouble)
  const words = [
    `${parameterCount(spec.model)} parameters`,
    method,
    `batch ${spec.batch}`,
    `rate ${spec.innerLearningRate.toPrecision(3)}`,
    `seed ${spec.seed}`,
    spec.merge === 'rda' ? 'RDA' : '',
    trouble === '{}' ? '' : trouble,
  ]
  return words.filter((word) => word !== '').join(', ')
}
