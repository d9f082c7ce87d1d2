/**
 * Whole-system tests: real tabs against a real coordinator, driven as a person would. Each test starts its own
 * coordinator process; one test at a time, because training in software takes every core.
 */
import { defineConfig } from '@playwright/test'
import { CHROMIUM_FLAGS, findChromium, WEBGPU_SOFTWARE_FLAGS } from './chromium.ts'

export default defineConfig({
  testDir: '.',
  testMatch: '**/*.spec.ts',
  outputDir: '../test-results',
  workers: 1,
  retries: 0,
  timeout: 240_000,
  expect: { timeout: 30_000 },
  // The second is for e2e/testAll.ts, which counts.
  reporter: [['line'], ['json', { outputFile: '../test-results/e2e.json' }]],
  use: {
    browserName: 'chromium',
    headless: true,
    launchOptions: {
      executablePath: findChromium(),
      // The name stands for another machine's address: reachable, and no secure context over plain HTTP.
      args: [...CHROMIUM_FLAGS, ...WEBGPU_SOFTWARE_FLAGS, '--host-resolver-rules=MAP potluck.test 127.0.0.1'],
    },
  },
})
