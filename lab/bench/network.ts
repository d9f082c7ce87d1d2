/**
 * Home connections: three tabs on lines of 10 Mbit/s up, 50 down and 60 ms train `micro` with H = 30, with overlap and
 * without it. Utilisation is the share of wall time in inner steps from a tab's first one to the last round's end, as
 * the page and the panel show it. Real coordinator, real tabs, Chromium's own emulation of the line.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'vite'
import { readConfig } from '../../coordinator/config.ts'
import { startCoordinator } from '../../coordinator/coordinator.ts'
import { timesLess } from '../../shared/diloco/traffic.ts'
import { PRESETS, type PresetName } from '../../shared/model/config.ts'
import { parameterCount } from '../../shared/model/layout.ts'
import { defaultRunConfig } from '../../shared/protocol/defaults.ts'
import type { RoundSummary, RunConfig } from '../../shared/protocol/run.ts'
import { openTabs } from '../demo/tabs.ts'

const LINE = { megabitsUp: 10, megabitsDown: 50, latencyMs: 60 }
const TABS = 3
const ROUNDS = 5
const LOOK_MS = 50

interface Row {
  readonly preset: PresetName
  readonly overlap: boolean
  readonly fragments: number
  readonly codec: string
  readonly utilisation: number
  readonly lowest: number
  /** Median of a round. */
  readonly seconds: number
  readonly megabytesUp: number
  readonly megabytesDown: number
  readonly timesLess: number
}

/** `--preset=micro --rounds=5 --codec=int8 --fragments=1` */
export async function measureNetwork(flags: string[]): Promise<{ rows: Row[] }> {
  const flag = (name: string) => flags.find((one) => one.startsWith(`--${name}=`))?.split('=')[1]
  const preset = (flag('preset') ?? 'micro') as PresetName // a wrong one fails at once in the schema
  const codec = (flag('codec') ?? 'int8') as RunConfig['codec']
  const fragments = Number(flag('fragments') ?? 1)
  const rounds = Number(flag('rounds') ?? ROUNDS)
  await build({ logLevel: 'error' })
  const rows: Row[] = []
  for (const overlap of [true, false]) {
    rows.push(
      await measure({ ...defaultRunConfig(preset), innerSteps: 30, codec, fragments, rounds, overlap }),
    )
  }
  return { rows }
}

async function measure(config: RunConfig): Promise<Row> {
  const folder = await mkdtemp(join(tmpdir(), 'potluck-network-'))
  const environment = { POTLUCK_DATA: folder, POTLUCK_PORT: '0', POTLUCK_LOG: 'error' }
  const { runs, url, stop } = await startCoordinator(readConfig(environment))
  const everybody = { replicas: TABS, quorum: TABS, deadlineSeconds: 3_600 }
  await runs.create({ ...config, ...everybody })
  await until(() => runs.view()?.initialValLoss != null)
  const tabs = await openTabs(url, TABS, LINE)
  await until(() => runs.view()?.present === TABS)
  await runs.act('start')
  let shares: number[] = []
  await until(() => {
    const view = runs.view()
    if (view?.status === 'completed') return true
    // The last that each tab says before the end.
    const told = runs.roster.all().flatMap(({ utilisation }) => utilisation ?? [])
    if (told.length === TABS) shares = told
    return false
  })
  const history = runs.view()?.history ?? []
  await tabs.close()
  await stop()
  await rm(folder, { recursive: true, force: true })
  return rowOf(config, shares, history)
}

function rowOf(config: RunConfig, shares: readonly number[], history: readonly RoundSummary[]): Row {
  const { preset, overlap, fragments, codec } = config
  const sum = (of: (round: RoundSummary) => number) => history.reduce((all, round) => all + of(round), 0)
  const traffic = {
    steps: sum(({ steps }) => steps),
    bytesUp: sum(({ bytesUp }) => bytesUp),
    bytesDown: sum(({ bytesDown }) => bytesDown),
  }
  const mean = shares.reduce((all, share) => all + share, 0) / shares.length
  const seconds = history.map((round) => round.seconds).sort((a, b) => a - b)
  return {
    preset,
    overlap,
    fragments,
    codec,
    utilisation: rounded(mean, 3),
    lowest: rounded(Math.min(...shares), 3),
    seconds: rounded(seconds[Math.floor(seconds.length / 2)] ?? Number.NaN, 1),
    megabytesUp: rounded(traffic.bytesUp / 1e6, 2),
    megabytesDown: rounded(traffic.bytesDown / 1e6, 2),
    timesLess: rounded(timesLess(traffic, parameterCount(PRESETS[preset])) ?? Number.NaN, 1),
  }
}

const rounded = (value: number, digits: number): number => Number(value.toFixed(digits))

async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
}
