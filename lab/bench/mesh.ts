/**
 * What the coordinator carries when k tabs average among themselves: real tabs in one Chromium, a real coordinator, real data
 * channels, made-up contributions of `35m` in int8 instead of training. Lines of 10 Mbit/s up, 50 down and 60 ms there and
 * back, by mesh/line.ts: requests and channels share them. Channels are measured before, as fast as they go.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type BrowserContext, chromium, type Page } from 'playwright'
import { build } from 'vite'
import { readConfig } from '../../coordinator/config.ts'
import { startCoordinator } from '../../coordinator/coordinator.ts'
import { CHROMIUM_FLAGS, findChromium } from '../../e2e/chromium.ts'
import type { PresetName } from '../../shared/model/config.ts'
import { defaultRunConfig } from '../../shared/protocol/defaults.ts'
import pages from '../../vite.config.ts'
import type { BenchTab, RoundTimes } from './mesh/page.ts'

const LINE = { megabitsUp: 10, megabitsDown: 50, latencyMs: 60 }
const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const BASE = '/mesh-benchmark/'
/** A page that comes from no address may otherwise not ask for one of this machine. */
const OWN_PAGE = '--disable-features=LocalNetworkAccessChecks'
/** Rounds on the slow line. */
const ROUNDS = 2

interface Row {
  readonly k: number
  /** Of the last round. */
  readonly coordinatorBytesIn: number
  readonly coordinatorBytesOut: number
  /** From the first contribution that is ready to the last tab that has the new weights; the mean of the slow rounds. */
  readonly secondsPerRound: number
  /** Of that, until the last contribution is accepted. */
  readonly secondsToSend: number
  /** Over each of the channels of the slowest tab, all tabs at once, without a slow line. Null for k = 1. */
  readonly channelMBps: number | null
  /** Of the coordinator's bytes at k = 1, times k: 1 is what was promised. */
  readonly inTimesK: number
  readonly outTimesK: number
}

declare global {
  interface Window {
    benchTab: BenchTab
  }
}

/** `--preset=35m --k=1,2,4,8 --tabs=8 --rounds=2` */
export async function measureMesh(flags: string[]): Promise<{ rows: Row[] }> {
  const flag = (name: string) => flags.find((one) => one.startsWith(`--${name}=`))?.split('=')[1]
  const preset = (flag('preset') ?? '35m') as PresetName // a wrong one fails at once in the schema
  const ks = (flag('k') ?? '1,2,4,8').split(',').map(Number)
  const rounds = Number(flag('rounds') ?? ROUNDS)
  const tabs = Number(flag('tabs') ?? Math.max(...ks))
  await build({ root: ROOT, logLevel: 'error' })
  const page = await mkdtemp(join(tmpdir(), 'potluck-mesh-page-'))
  const input = { mesh: join(ROOT, 'lab/bench/mesh/page.html') }
  await build({
    ...{ root: ROOT, base: BASE, logLevel: 'error', configFile: false, resolve: pages.resolve },
    ...{ worker: { format: 'es' }, publicDir: false },
    build: { outDir: page, emptyOutDir: true, target: 'es2022', rollupOptions: { input } },
  })
  const measured: Omit<Row, 'inTimesK' | 'outTimesK'>[] = []
  for (const k of ks) measured.push(await measure({ preset, rounds, k, count: tabs, pages: page }))
  await rm(page, { recursive: true, force: true })
  const star = measured.find(({ k }) => k === 1)
  const times = (k: number, bytes: number, of: number | undefined) =>
    of === undefined ? Number.NaN : Number(((k * bytes) / of).toFixed(3))
  return {
    rows: measured.map((row) => ({
      ...row,
      inTimesK: times(row.k, row.coordinatorBytesIn, star?.coordinatorBytesIn),
      outTimesK: times(row.k, row.coordinatorBytesOut, star?.coordinatorBytesOut),
    })),
  }
}

interface Case {
  readonly preset: PresetName
  readonly k: number
  readonly count: number
  readonly rounds: number
  readonly pages: string
}

async function measure({ preset, k, count, rounds: slowRounds, pages }: Case) {
  const folder = await mkdtemp(join(tmpdir(), 'potluck-mesh-'))
  const environment = { POTLUCK_DATA: folder, POTLUCK_PORT: '0', POTLUCK_LOG: 'error' }
  const { runs, url, stop } = await startCoordinator(readConfig(environment))
  const everybody = { replicas: count, quorum: count, deadlineSeconds: 3_600, rounds: 50, innerSteps: 1 }
  const groups = { groupSize: k, auditRate: 0, evaluation: 'volunteers', strict: true, batchSize: 1 } as const
  await runs.create({ ...defaultRunConfig(preset), ...everybody, ...groups })
  await until(() => runs.view()?.status === 'ready')
  const browser = await chromium.launch({
    executablePath: await findChromium(),
    args: [...CHROMIUM_FLAGS, OWN_PAGE],
  })
  const tabs = await Promise.all(
    Array.from({ length: count }, () => openTab(browser.newContext(), url, pages)),
  )
  await Promise.all(tabs.map((tab) => tab.evaluate((together) => window.benchTab.start(together), k > 1)))
  await until(() => runs.view()?.present === count)
  await runs.act('start')
  if (k > 1) for (const tab of tabs) await tab.waitForFunction(() => window.benchTab.linked())
  for (const tab of tabs) await tab.evaluate(() => window.benchTab.fetch())
  const round = () => Promise.all(tabs.map((tab) => tab.evaluate(() => window.benchTab.round())))
  const fast = await round()
  for (const tab of tabs) await slowDown(tab)
  const slow: RoundTimes[][] = []
  for (let i = 0; i < slowRounds; i++) slow.push(await round())
  await until(() => (runs.view()?.history.length ?? 0) > slowRounds)
  const last = runs.view()?.history.at(-1)
  await browser.close()
  const together = slow.flat().filter((one) => one.together).length
  if (together !== (k > 1 ? slowRounds * count : 0))
    console.error(`k = ${k}: ${together} of ${slowRounds * count} contributions went through groups.`)
  await stop()
  await rm(folder, { recursive: true, force: true })
  const rates = fast.flatMap(({ channel }) => channel ?? [])
  return {
    k,
    coordinatorBytesIn: last?.bytesUp ?? Number.NaN,
    // What went out after the last round closed belongs to no round yet; the one before is whole.
    coordinatorBytesOut: last?.bytesDown ?? Number.NaN,
    secondsPerRound: mean(slow.map((times) => spanOf(times, ({ to }) => to))),
    secondsToSend: mean(slow.map((times) => spanOf(times, ({ sent }) => sent))),
    channelMBps: rates.length === 0 ? null : Number((Math.min(...rates) / (k - 1) / 1e6).toFixed(1)),
  }
}

const spanOf = (times: readonly RoundTimes[], end: (one: RoundTimes) => number): number =>
  (Math.max(...times.map(end)) - Math.min(...times.map(({ from }) => from))) / 1_000

const mean = (values: readonly number[]): number =>
  Number((values.reduce((sum, value) => sum + value, 0) / values.length).toFixed(1))

/** The coordinator serves its own pages only; this one comes from a folder, under the coordinator's address. */
async function openTab(opening: Promise<BrowserContext>, url: string, folder: string): Promise<Page> {
  const context = await opening
  const types: Record<string, string> = { '.html': 'text/html', '.js': 'text/javascript' }
  await context.route(`${url}${BASE}**`, async (route) => {
    const path = new URL(route.request().url()).pathname.slice(BASE.length)
    const contentType = types[extname(path)] ?? 'application/octet-stream'
    await route.fulfill({ body: await readFile(join(folder, path)), contentType })
  })
  const page = await context.newPage()
  page.on('pageerror', (error) => console.error(error))
  page.on('console', (message) => console.error(message.text()))
  page.on('requestfailed', (request) => console.error(request.url(), request.failure()?.errorText))
  await page.goto(`${url}${BASE}lab/bench/mesh/page.html`)
  return page
}

async function slowDown(page: Page): Promise<void> {
  const { megabitsUp, megabitsDown, latencyMs } = LINE
  const [up, down] = [(megabitsUp * 1e6) / 8, (megabitsDown * 1e6) / 8]
  await page.evaluate((line) => window.benchTab.line(line), { up, down, delayMs: latencyMs / 2 })
}

async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, 50))
}
