/**
 * Tabs that train the next round ahead when the one under way needs them once more: it waits for its quorum, whose
 * deadline is an hour off, and nobody else is there.
 */
import { once } from 'node:events'
import type { Page } from '@playwright/test'
import { contribute, createRun, expect, press, spoilUploads, stateOf, test } from './table.ts'

/** The page's line to the coordinator. */
async function lineOf(page: Page) {
  const events = new EventTarget()
  const sockets = new Set<{ close(): Promise<void> }>()
  let line: 'whole' | 'held' | 'cut' = 'whole'
  await page.routeWebSocket('**/socket.io/**', async (socket) => {
    if (line === 'cut') return socket.close()
    sockets.add(socket)
    socket.connectToServer()
  })
  await page.route('**/contributions/**', async (route) => {
    if (line !== 'whole') {
      const mended = once(events, 'mended')
      events.dispatchEvent(new Event('held'))
      await mended
    }
    await route.continue()
  })
  return {
    /** Contributions do not arrive. Resolves with the first. */
    async hold() {
      line = 'held'
      await once(events, 'held')
    },
    /** Nothing does. */
    async cut() {
      line = 'cut'
      for (const socket of sockets) await socket.close()
    },
    mend() {
      line = 'whole'
      events.dispatchEvent(new Event('mended'))
    },
  }
}

/** The next step that the tab's Worker takes comes to no number. */
async function spoilStep(page: Page): Promise<void> {
  await page.workers()[0]?.evaluate(() => {
    const check = Number.isFinite
    Number.isFinite = () => {
      Number.isFinite = check
      return false
    }
  })
}

test('tabs that train ahead go back when their round needs them', async ({ browser, page, coordinator }) => {
  await createRun(page, coordinator, {
    ...{ innerSteps: 20, replicas: 2, quorum: 2, rounds: 50, deadlineSeconds: 3_600, overlap: true },
  })
  const ann = await contribute(browser, coordinator.url)
  const bob = await (await browser.newContext()).newPage()
  const line = await lineOf(bob)
  await bob.goto(coordinator.url)
  await press(bob, 'Start contributing')
  await coordinator.until('two volunteers', (run) => run.present === 2)

  for (const tab of [ann, bob]) await spoilUploads(tab, { times: 1 })
  await press(page, 'Start')
  for (const tab of [ann, bob])
    await expect(tab.getByText('invalid numbers').first()).toBeVisible({ timeout: 90_000 })
  const { history } = await coordinator.until('a merged round', ({ round }) => round === 2)
  expect(history[0]?.replicas).toBe(2)

  await line.hold()
  await expect(stateOf(bob)).toHaveAttribute('data-state', 'ahead', { timeout: 60_000 })
  await line.cut()
  await coordinator.until('what Bob had to be given back', (run) => run.present === 1 && run.leased === 0)
  const before = await coordinator.until('what Ann has', ({ accepted }) => accepted === 1)
  line.mend()
  const after = await coordinator.until('two more rounds', ({ round }) => round >= before.round + 2)
  expect(after.history[before.round - 1]?.replicas).toBe(2)

  // An engine whose numbers are spoilt costs what it has trained ahead, and not what is on its way.
  const lapsed = bob.getByText('Its lease had ended')
  const lapsedBefore = await lapsed.count()
  await line.hold()
  await spoilStep(bob)
  await expect(stateOf(bob)).toHaveAttribute('data-state', 'engine-lost', { timeout: 60_000 })
  await expect(stateOf(bob)).toHaveAttribute('data-state', 'sending', { timeout: 60_000 })
  const held = await coordinator.until('what Ann has', ({ accepted }) => accepted === 1)
  line.mend()
  const last = await coordinator.until('another round', ({ round }) => round > held.round)
  expect(last.history[held.round - 1]?.replicas).toBe(2)
  await expect(lapsed).toHaveCount(lapsedBefore)
})
