/**
 * `npm test`: types, lint, build, unit, browser and whole-system tests, one after the other, all of them even
 * when one fails. The last line is the verdict: `N passed, N failed`, and `, N skipped` if any were.
 *
 *     npm test                      everything
 *     npm test -- check             types, lint and build; each counts as one test
 *     npm test -- unit rounds       node tests whose path contains "rounds"; `browser` and `e2e` likewise
 *
 * Here is only the counting. What the runners run is in vitest.config.ts and e2e/playwright.config.ts.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { findChromium } from './chromium.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const PARTS = ['check', 'unit', 'browser', 'e2e'] as const
type Part = (typeof PARTS)[number]

interface Stage {
  name: string
  part: Part
  /** Script under node_modules, started with node: no shell, and the same on every system. */
  script: string
  args: string[]
  needsChromium: boolean
  /** Whose report to count by; a stage without one counts as one test. */
  runner?: 'vitest' | 'playwright'
}

interface Test {
  name: string
  result: 'passed' | 'failed' | 'skipped'
}

interface Outcome {
  stage: string
  seconds: number
  tests: Test[]
}

const STAGES: Stage[] = [
  { name: 'types', part: 'check', script: 'typescript/bin/tsc', args: ['--noEmit'], needsChromium: false },
  {
    name: 'lint',
    part: 'check',
    script: '@biomejs/biome/bin/biome',
    args: ['check', '.'],
    needsChromium: false,
  },
  { name: 'build', part: 'check', script: 'vite/bin/vite.js', args: ['build'], needsChromium: false },
  { ...vitest('node'), name: 'unit', part: 'unit', needsChromium: false },
  { ...vitest('browser'), name: 'browser', part: 'browser', needsChromium: true },
  {
    name: 'e2e',
    part: 'e2e',
    script: '@playwright/test/cli.js',
    args: ['test', '--config', 'e2e/playwright.config.ts'],
    needsChromium: true,
    runner: 'playwright',
  },
]

function vitest(project: string): Pick<Stage, 'script' | 'args' | 'runner'> {
  const reporters = ['--reporter=default', '--reporter=json']
  return { script: 'vitest/vitest.mjs', args: ['run', '--project', project, ...reporters], runner: 'vitest' }
}

// ---------------------------------------------------------------------------------------------- running

async function main(words: string[]): Promise<void> {
  const [part, ...filters] = words
  const stages = STAGES.filter((stage) => part === undefined || stage.part === part)
  if (stages.length === 0) throw new Error(`There is no part '${part}'. Parts: ${PARTS.join(', ')}.`)
  if (part === 'check' && filters.length > 0) throw new Error('check takes no filter.')
  const missing = prepareChromium(stages)
  const outcomes: Outcome[] = []
  for (const stage of stages) outcomes.push(await timed(stage, filters, missing))
  printSummary(outcomes)
}

/** Gives the children CHROME_PATH; returns why there is no Chromium, if there is none. */
function prepareChromium(stages: Stage[]): string | undefined {
  if (!stages.some((stage) => stage.needsChromium)) return undefined
  try {
    process.env.CHROME_PATH = findChromium()
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

async function timed(stage: Stage, filters: string[], missing: string | undefined): Promise<Outcome> {
  console.log(`\n── ${stage.name} ──`)
  const from = performance.now()
  const tests = stage.needsChromium && missing ? [failure(stage, missing)] : await runStage(stage, filters)
  return { stage: stage.name, seconds: (performance.now() - from) / 1000, tests }
}

async function runStage(stage: Stage, filters: string[]): Promise<Test[]> {
  const folder = mkdtempSync(join(tmpdir(), 'potluck-test-'))
  const report = join(folder, 'report.json')
  try {
    const code = await start(stage, filters, report)
    return stage.runner ? testsIn(report, stage, code) : [{ name: stage.name, result: resultOf(code) }]
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Streams the runner's output; resolves to its exit code, or to the signal or error that ended it. */
function start(stage: Stage, filters: string[], report: string): Promise<number | string> {
  const outputFile = stage.runner === 'vitest' ? [`--outputFile.json=${report}`] : []
  const args = [join(ROOT, 'node_modules', stage.script), ...stage.args, ...outputFile, ...filters]
  const env = { ...process.env, PLAYWRIGHT_JSON_OUTPUT_FILE: report }
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd: ROOT, stdio: 'inherit', env })
    child.once('error', (error) => resolve(error.message))
    child.once('close', (code, signal) => resolve(code ?? signal ?? 'no exit code'))
  })
}

function resultOf(code: number | string): Test['result'] {
  return code === 0 ? 'passed' : 'failed'
}

function failure(stage: Stage, reason: string): Test {
  return { name: `${stage.name}: ${reason}`, result: 'failed' }
}

// --------------------------------------------------------------------------------------------- counting

/** A runner that crashed, or that failed without blaming a test, is itself one failure. */
function testsIn(report: string, stage: Stage, code: number | string): Test[] {
  if (!existsSync(report)) return [failure(stage, `the runner ended with ${code} and left no report`)]
  const tests = readReport(report, stage)
  if (code === 0 || tests.some((test) => test.result === 'failed')) return tests
  return [
    ...tests,
    failure(stage, `the runner ended with ${code} although no test failed; its output says why`),
  ]
}

function readReport(report: string, stage: Stage): Test[] {
  try {
    const json: unknown = JSON.parse(readFileSync(report, 'utf8'))
    return stage.runner === 'vitest' ? readVitest(json) : readPlaywright(json)
  } catch (error) {
    return [failure(stage, `its report could not be read: ${error}`)]
  }
}

const vitestReport = z.object({
  testResults: z.array(
    z.object({
      name: z.string(),
      status: z.string(),
      assertionResults: z.array(z.object({ fullName: z.string(), status: z.string() })),
    }),
  ),
})

function readVitest(json: unknown): Test[] {
  return vitestReport.parse(json).testResults.flatMap((file) => {
    const path = relative(ROOT, file.name)
    const tests = file.assertionResults.map(({ fullName, status }) => ({
      name: `${path} > ${fullName}`,
      result: status === 'passed' || status === 'failed' ? status : 'skipped',
    })) satisfies Test[]
    // A file that could not be loaded, or whose hooks threw, may have no failing test of its own.
    const unblamed = file.status === 'failed' && !tests.some((test) => test.result === 'failed')
    return unblamed ? [...tests, { name: `${path} (the file itself)`, result: 'failed' as const }] : tests
  })
}

interface PlaywrightSuite {
  title: string
  specs: { title: string; tests: { status: string }[] }[]
  suites?: PlaywrightSuite[]
}

const playwrightSuite: z.ZodType<PlaywrightSuite> = z.object({
  title: z.string(),
  specs: z.array(z.object({ title: z.string(), tests: z.array(z.object({ status: z.string() })) })),
  suites: z.lazy(() => z.array(playwrightSuite)).optional(),
})

const playwrightReport = z.object({ suites: z.array(playwrightSuite) })

/** Playwright judges against expectation; without retries nothing is `flaky`, and if it were it is no pass. */
const PLAYWRIGHT_RESULTS: Record<string, Test['result']> = { expected: 'passed', skipped: 'skipped' }

function readPlaywright(json: unknown): Test[] {
  return playwrightReport.parse(json).suites.flatMap((suite) => testsOf(suite, 'e2e/'))
}

function testsOf(suite: PlaywrightSuite, prefix: string): Test[] {
  const path = `${prefix}${suite.title} > `
  const own = suite.specs.flatMap(({ title, tests }) =>
    tests.map(({ status }) => ({ name: path + title, result: PLAYWRIGHT_RESULTS[status] ?? 'failed' })),
  )
  return [...own, ...(suite.suites ?? []).flatMap((inner) => testsOf(inner, path))]
}

// -------------------------------------------------------------------------------------------- reporting

function printSummary(outcomes: Outcome[]): void {
  const tests = outcomes.flatMap((outcome) => outcome.tests)
  console.log(`\n${row('stage', 'passed', 'failed', 'skipped', 'seconds')}`)
  for (const { stage, tests, seconds } of outcomes) {
    console.log(row(stage, ...counts(tests).map(String), seconds.toFixed(1)))
  }
  const failed = tests.filter((test) => test.result === 'failed')
  if (failed.length > 0) console.log(`\nFailed:\n${failed.map((test) => `  ${test.name}`).join('\n')}`)
  console.log(`\n${verdict(tests)}`)
  if (failed.length > 0 || !tests.some((test) => test.result === 'passed')) process.exitCode = 1
}

function row(stage: string, ...columns: string[]): string {
  return stage.padEnd(10) + columns.map((column) => column.padStart(9)).join('')
}

function counts(tests: Test[]): [passed: number, failed: number, skipped: number] {
  const number = (result: Test['result']) => tests.filter((test) => test.result === result).length
  return [number('passed'), number('failed'), number('skipped')]
}

function verdict(tests: Test[]): string {
  const [passed, failed, skipped] = counts(tests)
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  console.log('0 passed, 1 failed')
  process.exitCode = 1
}
