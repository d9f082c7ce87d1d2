/** What every test here needs: a coordinator process, an operator's page, tabs that contribute. Drives pages only. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Browser, type BrowserContext, test as base, expect, type Page } from '@playwright/test'

export const PASSWORD = 'a long enough password'

/** The public view of the run: GET /api/run. */
export interface Run {
  id: string
  status: string
  phase: string
  round: number
  era: number
  accepted: number
  leased: number
  present: number
  tokens: number
  weights: { hash: string; bytes: number }[] | null
  initialValLoss: number | null
  evaluation: { round: number; slices: number; settled: number } | null
  history: {
    round: number
    replicas: number
    tokens: number
    steps: number
    trainLoss: number
    valLoss: number | null
    bytesUp: number
    bytesDown: number
  }[]
}

/** One coordinator on one folder; may be killed and started again on the same port. */
export class CoordinatorProcess {
  #child: ChildProcess | null = null
  /** POTLUCK_DATA. */
  readonly folder = mkdtempSync(join(tmpdir(), 'potluck-e2e-'))
  #port = 0
  setupUrl = ''

  get port(): number {
    return this.#port
  }

  get url(): string {
    return `http://localhost:${this.#port}`
  }

  /** Resolves once it says where it is. */
  async start(more: Readonly<Record<string, string>> = {}): Promise<void> {
    const environment = {
      POTLUCK_HELD_OUT_TOKENS: '6400', // a quarter of the usual: measuring takes time from those who train
      ...more,
      POTLUCK_DATA: this.folder,
      POTLUCK_PORT: String(this.#port),
      POTLUCK_LOG: 'error',
    }
    const child = spawn(process.execPath, ['--import', 'tsx', 'coordinator/main.ts'], {
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    this.#child = child
    let said = ''
    await new Promise<void>((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`the coordinator ended with code ${code}:\n${said}`)))
      child.stdout?.on('data', (chunk: Buffer) => {
        said += chunk.toString()
        if (/Operator[^\n]*\n/.test(said)) resolve()
      })
    })
    this.#port = Number(/localhost:(\d+)/.exec(said)?.[1])
    this.setupUrl = /http\S+setup=\S+/.exec(said)?.[0] ?? ''
  }

  /** SIGKILL: no goodbye. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  /** SIGTERM; answers the exit code. */
  terminate(): Promise<number | null> {
    return this.#end('SIGTERM')
  }

  async close(): Promise<void> {
    await this.#end('SIGKILL')
    rmSync(this.folder, { recursive: true, force: true })
  }

  #end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child
    this.#child = null
    if (child === null || child.exitCode !== null) return Promise.resolve(child?.exitCode ?? null)
    return new Promise((resolve) => {
      child.once('exit', (code) => resolve(code))
      child.kill(signal)
    })
  }

  async run(): Promise<Run | null> {
    const response = await fetch(`${this.url}/api/run`)
    const { run } = (await response.json()) as { run: Run | null } // our own server; the test fails if it is not so
    return run
  }

  /** Looks again and again until the run is as wanted. */
  async until(what: string, done: (run: Run) => boolean, seconds = 120): Promise<Run> {
    const end = Date.now() + seconds * 1_000
    let last: Run | null = null
    while (Date.now() < end) {
      last = await this.run().catch(() => null)
      if (last !== null && done(last)) return last
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    throw new Error(`${what} did not happen in ${seconds} s; the run is ${JSON.stringify(last)}`)
  }
}

export interface RunForm {
  innerSteps: number
  replicas: number
  quorum: number
  rounds: number
  deadlineSeconds?: number
  batchSize?: number
  fragments?: number
  codec?: string
  downlink?: string
  /** Everybody takes H steps: tokens can be counted beforehand. */
  strict?: boolean
  overlap?: boolean
  evaluation?: string
  /** By its name; the embedded one when left out. */
  corpus?: string
  groupSize?: number
  auditRate?: number
}

/** A person at a computer of their own: one context, one page, the button pressed. */
export async function contribute(browser: Browser, url: string): Promise<Page> {
  const context: BrowserContext = await browser.newContext()
  const page = await context.newPage()
  await page.goto(url)
  await page.getByRole('button', { name: 'Start contributing' }).click()
  return page
}

/** As `contribute`, by somebody who agrees to meet others. */
export async function contributeTogether(browser: Browser, url: string): Promise<Page> {
  const context = await browser.newContext()
  const page = await context.newPage()
  await page.goto(url)
  await page.getByLabel('Exchange updates directly').check()
  await page.getByRole('button', { name: 'Start contributing' }).click()
  return page
}

export const wayOf = (page: Page) => page.getByTestId('way')

export const stateOf = (page: Page) => page.locator('[data-state]').first()

/** With the one-use link where there is one. */
export async function logIn(page: Page, coordinator: CoordinatorProcess): Promise<void> {
  await page.goto(coordinator.setupUrl || `${coordinator.url}/admin`)
  await page.getByLabel('Password', { exact: true }).fill(PASSWORD)
  await press(page, coordinator.setupUrl ? 'Set password' : 'Log in')
}

export async function endRun(page: Page): Promise<void> {
  await press(page, 'End run')
  await page.getByRole('dialog').getByRole('button', { name: 'End run' }).click()
  await expect(page.getByTestId('run-status')).toHaveAttribute('data-value', 'ended')
}

/** Logs in, fills in the form, waits until the run is ready. */
export async function createRun(page: Page, coordinator: CoordinatorProcess, form: RunForm): Promise<void> {
  await logIn(page, coordinator)
  await expect(page.locator('#create')).toBeVisible()
  const another = page.getByText('Set up another run') // beside an earlier one the form is folded away
  if (await another.isVisible()) await another.click()
  await page.getByLabel('Preset').selectOption('nano')
  if (form.corpus !== undefined)
    await page.getByLabel('Corpus', { exact: true }).selectOption({ label: form.corpus })
  const fields: [label: string, value: number][] = [
    ['Inner steps (H)', form.innerSteps],
    ['Batch size', form.batchSize ?? 4],
    ['Replicas (M)', form.replicas],
    ['Quorum', form.quorum],
    ['Rounds', form.rounds],
    ['Deadline (seconds)', form.deadlineSeconds ?? 120],
    ['Fragments (P)', form.fragments ?? 1],
    ['Group size', form.groupSize ?? 1],
    ['Looked at by chance', form.auditRate ?? 0],
  ]
  for (const [label, value] of fields)
    await page.getByRole('textbox', { name: label, exact: true }).fill(String(value))
  const choices: [label: string, value: string][] = [
    ['As in the paper', String(form.strict ?? false)],
    ['Train while sending', String(form.overlap ?? true)],
    ['Updates as', form.codec ?? 'int8'],
    ['Weights as', form.downlink ?? 'int8'],
    ['Held-out loss by', form.evaluation ?? 'auto'],
  ]
  for (const [label, value] of choices) await page.getByLabel(label, { exact: true }).selectOption(value)
  await page.getByRole('button', { name: 'Create run' }).click()
  await expect(page.getByTestId('run-status')).toHaveAttribute('data-value', 'ready', { timeout: 60_000 })
}

/** A graphics driver's fault: every byte arrives as it was sent, and what was sent is NaN. */
export const spoilUploads = (page: Page, options: { times?: number } = {}) =>
  page.route(
    '**/contributions/**',
    async (route) => {
      const body = Buffer.alloc(route.request().postDataBuffer()?.length ?? 173_828, 0xff)
      const url = new URL(route.request().url())
      url.searchParams.set('sha256', createHash('sha256').update(body).digest('hex'))
      await route.continue({ url: url.href, postData: body })
    },
    options,
  )

export const press = (page: Page, name: string) => page.getByRole('button', { name, exact: true }).click()

interface Fixtures {
  /** A fresh one for each test, gone afterwards. */
  readonly coordinator: CoordinatorProcess
  /** Where it starts for the first time: on nothing, or on what an earlier run left, whose text need not be prepared again. */
  readonly begins: 'empty' | 'after a run'
}

export const test = base.extend<Fixtures, { readonly folderAfterRun: string }>({
  begins: ['after a run', { option: true }],
  folderAfterRun: [
    async ({ browser }, use) => {
      const coordinator = new CoordinatorProcess()
      await coordinator.start()
      const page = await browser.newPage()
      await createRun(page, coordinator, { innerSteps: 1, replicas: 1, quorum: 1, rounds: 1 })
      await endRun(page)
      await page.close()
      await coordinator.terminate()
      await use(coordinator.folder)
      await coordinator.close()
    },
    { scope: 'worker', timeout: 120_000 },
  ],
  coordinator: async ({ begins, folderAfterRun }, use) => {
    const coordinator = new CoordinatorProcess()
    if (begins === 'after a run') cpSync(folderAfterRun, coordinator.folder, { recursive: true })
    await coordinator.start()
    await use(coordinator)
    await coordinator.close()
  },
})
export { expect }
