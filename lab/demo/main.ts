/**
 * `npm run demo`: the main job on this machine. Starts a coordinator on a free port, opens headless tabs that
 * contribute, trains for some rounds on the embedded corpus, prints a table and a sample of text, exits 0.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'vite'
import { readConfig } from '../../coordinator/config.ts'
import { type Coordinator, startCoordinator } from '../../coordinator/coordinator.ts'
import { findChromium } from '../../e2e/chromium.ts'
import { PRESETS } from '../../shared/model/config.ts'
import { parameterCount } from '../../shared/model/layout.ts'
import { defaultRunConfig } from '../../shared/protocol/defaults.ts'
import { PotluckError } from '../../shared/protocol/errors.ts'
import type { RunView } from '../../shared/protocol/run.ts'
import { type DemoOptions, readOptions } from './options.ts'
import { header, row, untrained } from './table.ts'
import { openTabs, type Tabs, troubleOf } from './tabs.ts'

const LOOK_MS = 250
/** A tab that trains and a machine that stalls look alike for this long. */
const PATIENCE_MS = 15 * 60_000

async function demo(options: DemoOptions): Promise<void> {
  const say = (text: string) => (options.json ? console.error(text) : console.log(text))
  await findChromium() // before anything else: it may have to be installed
  say('Building the pages…')
  await build({ logLevel: 'error' })
  const folder = await mkdtemp(join(tmpdir(), 'potluck-demo-'))
  const environment = { POTLUCK_DATA: folder, POTLUCK_PORT: String(options.port), POTLUCK_LOG: 'error' }
  const coordinator = await startCoordinator(readConfig(environment))
  let tabs: Tabs | null = null
  const closeTabs = async () => {
    await tabs?.close()
    tabs = null
  }
  try {
    const started = await createRun(coordinator, options, say)
    tabs = await openTabs(coordinator.url, options.tabs)
    await coordinator.runs.act('start')
    const finished = await watch(coordinator, tabs, options.rounds, say)
    const sample = finished.samples.at(-1)?.text ?? ''
    say(`\nAfter ${options.rounds} rounds the model writes:\n\n${sample.trim()}\n`)
    await closeTabs()
    if (options.json) console.log(JSON.stringify(report(started, finished, sample)))
    if (options.keep) await serveOn(coordinator, say)
  } finally {
    await closeTabs()
    await coordinator.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

/** A run in which every tab takes part in every round; resolves when it is ready and the untrained loss known. */
async function createRun(
  { runs, url }: Coordinator,
  { preset, tabs, rounds }: DemoOptions,
  say: (text: string) => void,
) {
  const everybody = { replicas: tabs, quorum: tabs, rounds, deadlineSeconds: 3_600 }
  const config = { ...defaultRunConfig(preset), ...everybody }
  const model = PRESETS[preset]
  say(
    `Preset ${preset}: ${parameterCount(model).toLocaleString('en')} parameters. ${tabs} tabs, ${rounds} rounds of ` +
      `H = ${config.innerSteps} inner steps, ${config.batchSize} × ${model.sequenceLength} tokens a step. ${url}/`,
  )
  say('Preparing the corpus: the State of the Union addresses…')
  await runs.create(config)
  const ready = await until(runs, (view) => view.status === 'failed' || view.initialValLoss !== null)
  if (ready.status === 'failed') throw new PotluckError('bad-corpus', ready.problem ?? 'The run failed.')
  return ready
}

/** Prints each round as soon as it is measured; resolves when all are. */
async function watch(
  coordinator: Coordinator,
  tabs: Tabs,
  rounds: number,
  say: (text: string) => void,
): Promise<RunView> {
  const { runs } = coordinator
  const first = runs.view()
  say(`\n${header()}`)
  say(untrained(first?.initialValLoss ?? Number.NaN, first?.initialBitsPerByte ?? Number.NaN))
  let printed = 0
  return until(runs, async (view) => {
    while (view.history[printed]?.valLoss != null)
      say(row(view.history[printed++] as RunView['history'][number], view.parameters)) // just seen
    const troubles = await Promise.all(tabs.tabs.map(troubleOf))
    const trouble = troubles.find((text) => text !== null)
    if (trouble) throw new PotluckError('internal', `A tab gave up: ${trouble}`)
    return printed === rounds
  })
}

async function until(
  runs: Coordinator['runs'],
  done: (view: RunView) => boolean | Promise<boolean>,
): Promise<RunView> {
  const end = Date.now() + PATIENCE_MS
  while (Date.now() < end) {
    const view = runs.view()
    if (view !== null && (await done(view))) return view
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
  throw new PotluckError('internal', `Nothing came of it in ${PATIENCE_MS / 60_000} minutes.`)
}

function report(started: RunView, finished: RunView, sample: string) {
  const rounds = finished.history.map(
    ({ round, replicas, tokens, trainLoss, valLoss, bitsPerByte, seconds, bytesUp, bytesDown }) => ({
      round,
      replicas,
      tokens,
      trainLoss,
      valLoss,
      bitsPerByte,
      seconds,
      bytesUp,
      bytesDown,
    }),
  )
  return { initialValLoss: started.initialValLoss, rounds, sample }
}

async function serveOn({ url, setupToken }: Coordinator, say: (text: string) => void): Promise<void> {
  say(`Still open. Volunteers: ${url}/   Operator: ${url}/admin?setup=${setupToken}   Stop with Ctrl-C.`)
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve())
  })
}

demo(readOptionsOrExit()).then(
  () => process.exit(0),
  (error: unknown) => fail(error),
)

function readOptionsOrExit(): DemoOptions {
  try {
    return readOptions(process.argv.slice(2))
  } catch (error) {
    return fail(error)
  }
}

function fail(error: unknown): never {
  console.error(error instanceof PotluckError ? `${error.message} (${error.code})` : error)
  process.exit(1)
}
