/**
 * Runs contestants in a headless Chromium: builds the page as production would, serves it, by default cross-origin
 * isolated (jax-js and stock TensorFlow.js take threads where they may), and opens contestants in it, each in a
 * Worker of its own. It measures nothing itself; see contestants.worker.ts.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright'
import { build } from 'vite'
import { CHROMIUM_FLAGS, findChromium, WEBGPU_SOFTWARE_FLAGS } from '../../../e2e/chromium.ts'
import type { TimedStep } from '../../../shared/engine/measure.ts'
import type { ModelConfig } from '../../../shared/model/config.ts'
import type { ContestantOptions, EngineName } from './contestant.ts'
import type { Counts } from './contestants.worker.ts'
// Also gives `window.potluckBench` its type.
import type { Calibration } from './page.ts'

export interface Host {
  /** One contestant at a time: close it before the next. The time it takes to open is the caller's to measure. */
  open(engine: EngineName, options: ContestantOptions): Promise<TimedContestant>
  /** How long the page's own choice takes, and what it chooses. */
  calibrate(config: ModelConfig, batchSize: number): Promise<Calibration>
  close(): Promise<void>
}

/** A Contestant in the browser, with its time. */
export interface TimedContestant {
  step(sequences: Uint16Array, step: number): Promise<TimedStep>
  counts(): Promise<Counts>
  close(): Promise<void>
}

/** POTLUCK_BENCH_GPU=1: WebGPU on the machine's GPU instead of in software; on Linux that is Chromium's Vulkan. */
const WEBGPU_FLAGS =
  process.env.POTLUCK_BENCH_GPU === '1'
    ? ['--enable-unsafe-webgpu', '--enable-features=Vulkan']
    : WEBGPU_SOFTWARE_FLAGS

export interface HostOptions {
  /** Cross-origin isolated, so that contestants may use threads; true unless said otherwise. */
  readonly isolated?: boolean
}

export async function openHost({ isolated = true }: HostOptions = {}): Promise<Host> {
  const closers: (() => Promise<unknown>)[] = []
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer()
  }
  try {
    const folder = await mkdtemp(join(tmpdir(), 'potluck-engines-'))
    closers.push(() => rm(folder, { recursive: true, force: true }))
    await buildPage(folder)
    const site = await serve(folder, isolated ? ISOLATED : {})
    closers.push(site.close)
    const browser = await launch()
    closers.push(() => browser.close())
    const page = await browser.newPage()
    await page.goto(`${site.url}/page.html`)
    return {
      open: (engine, options) => openContestant(page, site, engine, options),
      calibrate: (config, batchSize) =>
        page.evaluate(([config, batchSize]) => window.potluckBench.calibrate(config, batchSize), [
          config,
          batchSize,
        ] as const),
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

async function openContestant(
  page: Page,
  site: Site,
  engine: EngineName,
  { parameters, ...options }: ContestantOptions,
): Promise<TimedContestant> {
  site.offer(parameters)
  await page.evaluate(([engine, options, url]) => window.potluckBench.open(engine, options, url), [
    engine,
    options,
    PARAMETERS_PATH,
  ] as const)
  return {
    step: (sequences, step) =>
      page.evaluate(([sequences, step]) => window.potluckBench.step(sequences, step), [
        Array.from(sequences),
        step,
      ] as const),
    counts: () => page.evaluate(() => window.potluckBench.counts()),
    close: () => page.evaluate(() => window.potluckBench.close()),
  }
}

async function buildPage(outDir: string): Promise<void> {
  const root = fileURLToPath(new URL('.', import.meta.url))
  await build({
    configFile: false,
    root,
    base: './',
    logLevel: 'error',
    worker: { format: 'es' },
    build: {
      outDir,
      emptyOutDir: true,
      target: 'es2022',
      assetsInlineLimit: 0,
      // TensorFlow.js's threads run the source text of a function that names a variable around it.
      minify: false,
      modulePreload: { polyfill: false },
      rollupOptions: { input: join(root, 'page.html') },
    },
  })
}

function launch(): Promise<Browser> {
  return chromium.launch({ executablePath: findChromium(), args: [...CHROMIUM_FLAGS, ...WEBGPU_FLAGS] })
}

interface Site {
  readonly url: string
  /** What PARAMETERS_PATH serves from now on. */
  offer(parameters: Float32Array): void
  close(): Promise<void>
}

const PARAMETERS_PATH = '/parameters'
const ISOLATED = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
}
const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.wasm': 'application/wasm',
}

/** Serves a folder to this machine on a free port. */
async function serve(folder: string, headers: Record<string, string>): Promise<Site> {
  let offered: Uint8Array = new Uint8Array()
  const answer = async ({ url = '/' }: IncomingMessage, response: ServerResponse) => {
    const path = normalize(new URL(url, 'http://localhost').pathname)
    const body = path === PARAMETERS_PATH ? offered : await readFile(join(folder, path)).catch(() => null)
    const type = TYPES[extname(path)] ?? 'application/octet-stream'
    response.writeHead(body === null ? 404 : 200, { ...headers, 'Content-Type': type }).end(body)
  }
  const server = createServer((request, response) => void answer(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('internal: no port to listen on')
  return {
    url: `http://127.0.0.1:${address.port}`,
    offer: ({ buffer, byteOffset, byteLength }) => {
      offered = new Uint8Array(buffer, byteOffset, byteLength)
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
