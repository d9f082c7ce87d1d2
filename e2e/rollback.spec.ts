/** A run is rolled back in the panel while real tabs train, and they follow by themselves. */
import type { Page } from '@playwright/test'
import { contribute, createRun, expect, press, stateOf, test } from './table.ts'

test('tabs drop the round under way when the run is rolled back, and train on from the older weights', async ({
  browser,
  page,
  coordinator,
}) => {
  await createRun(page, coordinator, { innerSteps: 100, replicas: 2, quorum: 2, rounds: 60, strict: true })
  const pages = [await contribute(browser, coordinator.url), await contribute(browser, coordinator.url)]
  await coordinator.until('two volunteers', (run) => run.present === 2)
  await press(page, 'Start')
  const first = await coordinator.until('a merged round', (run) => run.round === 2)
  const weights = first.weights
  const before = await coordinator.until('leases of a later round', (run) => run.round > 2 && run.leased > 0)
  expect(before.era).toBe(0)
  expect(before.weights).not.toEqual(weights)
  const credit = await Promise.all(pages.map((tab) => acceptedOf(tab)))

  await press(page, 'Roll back to round 1')
  await page.getByRole('dialog').getByRole('button', { name: 'Roll back', exact: true }).click()
  const back = await coordinator.until('the roll-back', (run) => run.era === 1)
  expect(back).toMatchObject({ round: 2, accepted: 0, status: 'running', weights })
  expect(back.history.map(({ round }) => round)).toEqual([1])

  const after = await coordinator.until('two rounds by both tabs', ({ history }) => history.length === 3)
  expect(after.history.slice(1)).toMatchObject([
    { round: 2, replicas: 2 },
    { round: 3, replicas: 2 },
  ])
  for (const [i, tab] of pages.entries()) {
    // What they had contributed stays theirs.
    await expect.poll(() => acceptedOf(tab)).toBeGreaterThanOrEqual((credit[i] ?? 0) + 2)
    await expect(stateOf(tab)).not.toHaveAttribute('data-state', /failed|stopped/)
  }
  await expect(page.getByText(/rolled back from round \d+ to 1; \d+ contributions/)).toBeVisible()
})

const acceptedOf = async (tab: Page): Promise<number> =>
  Number(await tab.getByTestId('my-accepted').getAttribute('data-value'))
