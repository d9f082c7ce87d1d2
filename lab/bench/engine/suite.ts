/**
 * `npm run bench -- engine [--presets nano,micro] [--backends wasm,webgpu] [--hosts chromium,node] [--peers] [--steps 5]
 * [--engines tfjs,compiled,jax-js,stock-tfjs] [--precision f32]`: inner steps of our engines, and with --peers of stock TensorFlow.js and
 * jax-js on the same model, shapes, weights and ids in the same browser. Every contestant has a fresh Worker or process,
 * one after another. On wasm the peers are measured with threads and without, because on small models threads cost more
 * than they give; their row is the faster of the two. `--precision f16` is of the compiled engine's states,
 * on GPUs that have it; the others' are f32.
 */
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { type Measured, measureSteps, type TimedStep } from '../../../shared/engine/measure.ts'
import { PRESET_NAMES, PRESETS, type PresetName } from '../../../shared/model/config.ts'
import { flopsPerToken } from '../../../shared/model/flops.ts'
import { initialParameters } from '../../../shared/model/initial.ts'
import { randomFrom } from '../../../shared/model/random.ts'
import { type ContestantOptions, ENGINES, type EngineName, enginesOn } from './contestant.ts'
import type { Counts } from './contestants.worker.ts'
import { type Host, openHost, type TimedContestant } from './host.ts'
import { openInNode } from './nodeHost.ts'

/** Losses of different engines from the same weights on the same ids agree to this, relative. */
const AGREE = { f32: 1e-4, f16: 1e-2 }
export const RECIPE = { totalSteps: 1_000, peakLearningRate: 3e-3 }
const WARM_UPS = 3
const OURS = ['tfjs', 'compiled'] as const satisfies readonly EngineName[]
const PEERS = ['jax-js', 'stock-tfjs'] as const satisfies readonly EngineName[]

export interface EngineRow {
  engine: EngineName
  backend: string
  host: string
  preset: PresetName
  batch: number
  sequence: number
  msPerStep: number
  tokensPerSecond: number
  gflops: number
  dispatches: number | null
  peakBytes: number | null
  firstStepSeconds: number
  finalLoss: number
}

const list = <const T extends readonly [string, ...string[]]>(names: T) =>
  z
    .string()
    .transform((text) => text.split(','))
    .pipe(z.array(z.enum(names)))

const flagsSchema = z.strictObject({
  presets: list(PRESET_NAMES),
  backends: list(['wasm', 'webgpu', 'webgl']),
  hosts: list(['chromium', 'node']),
  peers: z.boolean(),
  engines: list(ENGINES),
  steps: z.coerce.number().int().min(5).max(1_000),
  precision: z.enum(['f32', 'f16']),
})

type Flags = z.infer<typeof flagsSchema>

export function readFlags(args: string[]): Flags {
  const { values } = parseArgs({
    args,
    options: {
      presets: { type: 'string', default: 'nano,micro' },
      backends: { type: 'string', default: 'wasm' },
      hosts: { type: 'string', default: 'chromium,node' },
      peers: { type: 'boolean', default: false },
      engines: { type: 'string', default: ENGINES.join(',') },
      steps: { type: 'string', default: '5' },
      precision: { type: 'string', default: 'f32' },
    },
  })
  return flagsSchema.parse(values)
}

interface Case {
  readonly preset: PresetName
  readonly backend: Flags['backends'][number]
  readonly batch: number
  readonly steps: number
  readonly precision: Flags['precision']
}

type Open = (options: ContestantOptions) => Promise<TimedContestant>

interface Entry {
  readonly engine: EngineName
  readonly host: string
  /** Whether it may take threads. */
  readonly threads: boolean
  readonly open: Open
}

export async function measureEngines(args: string[]) {
  const flags = readFlags(args)
  const browsers = flags.hosts.includes('chromium') ? await openBrowsers(flags.peers) : null
  try {
    const rows: EngineRow[] = []
    for (const one of casesOf(flags)) {
      const losses: number[][] = []
      for (const entry of entriesOf(one, flags, browsers)) {
        const { row, trace } = await measure(one, entry)
        keepFaster(rows, row)
        losses.push(trace)
        say(row, entry)
      }
      checkAgreement(one, losses)
    }
    if (browsers) await sayCalibration(browsers.isolated)
    return { rows, ratios: ratiosOf(rows) }
  } finally {
    await browsers?.isolated.close()
    await browsers?.plain?.close()
  }
}

/** `plain` is one without threads. */
async function openBrowsers(peers: boolean): Promise<{ isolated: Host; plain: Host | null }> {
  return { isolated: await openHost(), plain: peers ? await openHost({ isolated: false }) : null }
}

/** Sequences a step: what a run of that preset has by default, less where a CPU would take minutes. */
export function batchOf(preset: PresetName): number {
  return { nano: 8, micro: 8, mini: 2 }[preset as string] ?? 1
}

function casesOf({ presets, backends, steps, precision }: Flags): Case[] {
  return presets.flatMap((preset) =>
    backends.map((backend) => ({ preset, backend, batch: batchOf(preset), steps, precision })),
  )
}

function entriesOf(
  { backend }: Case,
  { hosts, peers, engines }: Flags,
  browsers: { isolated: Host; plain: Host | null } | null,
): Entry[] {
  const entries: Entry[] = []
  const here = enginesOn(backend).filter((engine) => engines.includes(engine))
  const inBrowser = (engine: EngineName, host: Host, threads: boolean) =>
    entries.push({ engine, host: 'chromium', threads, open: (options) => host.open(engine, options) })
  if (browsers) {
    for (const ours of OURS) if (here.includes(ours)) inBrowser(ours, browsers.isolated, false) // they take none
    for (const peer of peers ? PEERS : []) {
      if (!here.includes(peer)) continue
      inBrowser(peer, browsers.isolated, backend === 'wasm')
      if (backend === 'wasm' && browsers.plain) inBrowser(peer, browsers.plain, false)
    }
  }
  for (const engine of hosts.includes('node') && backend !== 'webgl' ? OURS : []) {
    if (!here.includes(engine)) continue
    entries.push({ engine, host: 'node', threads: false, open: (options) => openInNode(engine, options) })
  }
  return entries
}

async function measure({ preset, backend, batch, steps, precision }: Case, entry: Entry) {
  const config = PRESETS[preset]
  const parameters = initialParameters(config, 'bench')
  const contestant = await entry.open({ config, backend, batch, parameters, precision, recipe: RECIPE })
  const trace: number[] = []
  const counts: Counts[] = []
  const sequences = randomSequences(preset, batch)
  const step = async (index: number): Promise<TimedStep> => {
    const taken = await contestant.step(sequences, index)
    trace.push(taken.loss)
    counts.push(await contestant.counts())
    return taken
  }
  try {
    const limits = { warmUps: WARM_UPS, least: steps, most: steps, milliseconds: 0 }
    const measured = await measureSteps(step, limits)
    return { row: rowOf(preset, backend, batch, entry, measured, counts), trace }
  } finally {
    await contestant.close()
  }
}

function rowOf(
  preset: PresetName,
  backend: string,
  batch: number,
  { engine, host }: Entry,
  { msPerStep, firstStepSeconds, finalLoss }: Measured,
  counts: readonly Counts[],
): EngineRow {
  const config = PRESETS[preset]
  const tokens = batch * config.sequenceLength
  const [before, last] = [counts.at(-2), counts.at(-1)]
  const rounded = (value: number, digits: number) => Number(value.toFixed(digits))
  return {
    engine,
    backend,
    host,
    preset,
    batch,
    sequence: config.sequenceLength,
    msPerStep: rounded(msPerStep, 1),
    tokensPerSecond: rounded((1_000 * tokens) / msPerStep, 0),
    gflops: rounded((flopsPerToken(config) * tokens) / msPerStep / 1e6, 2),
    dispatches: backend === 'webgpu' && before && last ? last.dispatches - before.dispatches : null,
    peakBytes: last?.peakBytes ?? null,
    firstStepSeconds: rounded(firstStepSeconds, 2),
    finalLoss: rounded(finalLoss, 5),
  }
}

/** The same batch for every step and every engine. */
export function randomSequences(preset: PresetName, batch: number): Uint16Array {
  const { vocabSize, sequenceLength } = PRESETS[preset]
  const uniform = randomFrom(`bench/${preset}`)
  return Uint16Array.from({ length: batch * (sequenceLength + 1) }, () => Math.floor(uniform() * vocabSize))
}

function checkAgreement(
  { preset, backend, precision }: Case,
  [first = [], ...others]: readonly number[][],
): void {
  for (const trace of others) {
    for (const [step, loss] of trace.entries()) {
      const wanted = first[step] ?? Number.NaN
      if (!(Math.abs(loss / wanted - 1) < AGREE[precision]))
        throw new Error(`${preset} on ${backend}: losses of step ${step} differ, ${wanted} and ${loss}.`)
    }
  }
}

/** Puts the row in, or in the place of a slower one of the same engine, host and case. */
function keepFaster(rows: EngineRow[], row: EngineRow): void {
  const key = ({ engine, backend, host, preset }: EngineRow) => [engine, backend, host, preset].join()
  const before = rows.findIndex((other) => key(other) === key(row))
  if (before < 0) rows.push(row)
  else if (row.msPerStep < (rows[before] as EngineRow).msPerStep) rows[before] = row // found above
}

/** How many times as long as an engine of ours a peer takes on the same case. */
function ratiosOf(rows: readonly EngineRow[]) {
  return rows
    .filter(({ engine, host }) => (engine === 'tfjs' || engine === 'compiled') && host === 'chromium')
    .map(({ engine, preset, backend, msPerStep }) => {
      const ratio = (peer: EngineName) => {
        const row = rows.find((r) => r.engine === peer && r.preset === preset && r.backend === backend)
        return row === undefined ? null : Number((row.msPerStep / msPerStep).toFixed(2))
      }
      return { engine, preset, backend, stockOverOurs: ratio('stock-tfjs'), jaxJsOverOurs: ratio('jax-js') }
    })
    .filter(({ stockOverOurs, jaxJsOverOurs }) => stockOverOurs !== null || jaxJsOverOurs !== null)
}

/** A case can take minutes: each measurement as it comes. */
function say({ engine, backend, host, preset, msPerStep }: EngineRow, { threads }: Entry): void {
  console.error(
    `${preset} ${backend} ${host} ${engine}${threads ? ' with threads' : ''}: ${msPerStep} ms a step`,
  )
}

/** How long the page's own choice takes, with an empty memory. */
async function sayCalibration(host: Host): Promise<void> {
  const { seconds, backend, microBatch } = await host.calibrate(PRESETS.nano, batchOf('nano'))
  const choice = `${backend}, ${microBatch} sequences at once`
  console.error(`the page's choice for nano: ${choice}, after ${seconds.toFixed(2)} s`)
}
