/** A tab whose engine dies under it: the round goes on, on the same lease. */
import type { Page } from '@playwright/test'
import { createRun, expect, press, stateOf, test } from './table.ts'

/** As a tab that has measured before and found its GPU the fastest; in software it would choose Wasm. */
const rememberWebGpu = (page: Page) =>
  page.addInitScript(() => {
    const choice = {
      backend: 'webgpu',
      tokensPerSecond: 900,
      measurements: [
        { backend: 'webgpu', tokensPerSecond: 900, note: '' },
        { backend: 'wasm', tokensPerSecond: 500, note: '' },
      ],
    }
    const getItem = Storage.prototype.getItem
    Storage.prototype.getItem = function (key) {
      return key.startsWith('potluck/backend/') ? JSON.stringify(choice) : getItem.call(this, key)
    }
  })

/** What the tab says to the coordinator, by the names of its messages. */
function listen(page: Page): string[] {
  const said: string[] = []
  page.on('websocket', (socket) => {
    socket.on('framesent', ({ payload }) => {
      const text = String(payload)
      if (/\["(join|lease|release|leave)"/.test(text)) said.push(text)
    })
  })
  return said
}

/** Has the Worker fail once the tab trains. */
async function killWorker(page: Page): Promise<void> {
  await expect(stateOf(page)).toHaveAttribute('data-state', 'training', { timeout: 90_000 })
  const worker = page.workers()[0]
  if (worker === undefined) throw new Error('the tab trains without a Worker')
  await worker.evaluate(() => {
    setTimeout(() => {
      throw new Error('killed by the test')
    })
  })
  await expect(stateOf(page)).toHaveAttribute('data-state', 'engine-lost')
}

test('an engine that dies twice in a round is replaced by the next backend, and the lease is kept', async ({
  browser,
  page,
  coordinator,
}) => {
  await createRun(page, coordinator, {
    innerSteps: 40,
    replicas: 1,
    quorum: 1,
    rounds: 1,
    batchSize: 2,
    strict: true,
  })
  const tab = await (await browser.newContext()).newPage()
  const said = listen(tab)
  await rememberWebGpu(tab)
  await tab.goto(coordinator.url)
  await tab.getByRole('button', { name: 'Start contributing' }).click()
  await coordinator.until('a volunteer', (run) => run.present === 1)
  await press(page, 'Start')

  await killWorker(tab)
  await expect(tab.getByText(/GPU stopped responding. Restarting it \(number 1\)/).first()).toBeVisible()
  await killWorker(tab)
  await expect(tab.getByTestId('fell-back')).toHaveText(
    /WebGPU kept stopping, so this tab now trains with Wasm/,
  )
  await expect(tab.getByTestId('backend')).toHaveAttribute('data-value', 'wasm')

  await expect(tab.getByTestId('my-accepted')).toHaveAttribute('data-value', '1', { timeout: 60_000 })
  const run = await coordinator.until('the end', ({ status }) => status === 'completed')
  expect(run.history[0]).toMatchObject({ replicas: 1, tokens: 40 * 2 * 64 })
  await expect(tab.getByTestId('my-steps')).toHaveAttribute('data-value', '40')
  expect(said.filter((text) => /\["(release|leave)"/.test(text))).toEqual([])
  expect(said.filter((text) => text.includes('["join"')).at(-1)).toContain('"backend":"wasm"')
})
