/**
 * The two sets of tests that Vitest runs: `node` (`*.test.ts`) and `browser` (`*.browser.test.ts`, in a headless
 * Chromium with WebGPU on the CPU). Tests of several tabs and a whole coordinator are Playwright's, in e2e/.
 */
import { playwright } from '@vitest/browser-playwright'
import { defineConfig } from 'vitest/config'
import { CHROMIUM_FLAGS, findChromium, WEBGPU_SOFTWARE_FLAGS } from './e2e/chromium.ts'
import pages from './vite.config.ts'

const FOLDERS = '{shared,coordinator,client,lab}'
const BROWSER_TESTS = `${FOLDERS}/**/*.browser.test.{ts,tsx}`

/**
 * Bundled before the first test. Vite finds a dependency that is imported only by a Worker or by a dynamic import
 * while the tests run, bundles it then, and reloads the page under them.
 */
const BROWSER_DEPENDENCIES = [
  '@preact/signals',
  '@tensorflow/tfjs',
  '@tensorflow/tfjs-backend-cpu',
  '@tensorflow/tfjs-backend-wasm',
  '@tensorflow/tfjs-backend-webgl',
  '@tensorflow/tfjs-backend-webgpu',
  '@tensorflow/tfjs-core',
  'comlink',
  'fast-check',
  'preact',
  'preact/hooks',
  'preact/jsx-dev-runtime',
  'preact/jsx-runtime',
  'simple-peer/simplepeer.min.js',
  'socket.io-client',
  'uplot',
  'zod',
]

const launchOptions = {
  args: [...CHROMIUM_FLAGS, ...WEBGPU_SOFTWARE_FLAGS],
  // A getter, so that a run of node tests alone neither looks for a browser nor installs one.
  get executablePath() {
    return findChromium()
  },
}

const node = {
  test: {
    name: 'node',
    include: [`${FOLDERS}/**/*.test.{ts,tsx}`],
    exclude: ['**/*.browser.test.*', '**/node_modules/**'],
    environment: 'node',
    pool: 'forks' as const,
    maxWorkers: 2, // of two processors Vitest would use one
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
}

const browser = {
  // The aliases under which the pages are built.
  resolve: pages.resolve,
  optimizeDeps: { include: BROWSER_DEPENDENCIES },
  worker: { format: 'es' as const },
  test: {
    name: 'browser',
    include: [BROWSER_TESTS],
    testTimeout: 180_000,
    hookTimeout: 180_000,
    // One page at a time: SwiftShader takes every core it can get.
    fileParallelism: false,
    browser: {
      enabled: true,
      headless: true,
      provider: playwright({ launchOptions }),
      instances: [{ browser: 'chromium' as const }],
      screenshotFailures: false,
      connectTimeout: 180_000,
    },
  },
}

export default defineConfig({ test: { projects: [node, browser] } })
