/** A run is rolled back in the panel while real tabs train, and they follow by themselves. */
import type { Page } from '@playwright/test'
import { contribute, createRun, expect, press, type Run, stateOf, test } from './table.ts'

test('tabs drop the round under way when the run is rolled back, and train on from the older weights', async ({
  browser,
  page,
  coordinator,
}) => {
  await createRun(page, coordinator, { innerSteps: 40, replicas: 2, quorum: 2, rounds: 60, strict: true })
  const pages = [await contribute(browser, coordinator.url), await contribute(browser, coordinator.url)]
  const first = hashesOf(await coordinator.until('two volunteers', (run) => run.present === 2))
  await press(page, 'Start')
  const before = await coordinator.until('leases of round 2', (run) => run.round > 1 && run.leased > 0)
  expect(before.era).toBe(0)
  expect(hashesOf(before)).not.toEqual(first)
  const credit = await Promise.all(pages.map((tab) => acceptedOf(tab)))

  await press(page, 'Roll back to round 0')
  await page.getByRole('dialog').getByRole('button', { name: 'Roll back', exact: true }).click()
  const back = await coordinator.until('the roll-back', (run) => run.era === 1)
  expect(back).toMatchObject({ round: 1, accepted: 0, status: 'running', history: [] })
  expect(hashesOf(back)).toEqual(first)

  const after = await coordinator.until('a round by both tabs', ({ history }) => history.length > 0)
  expect(after.history[0]).toMatchObject({ round: 1, replicas: 2 })
  for (const [i, tab] of pages.entries()) {
    // What they had contributed stays theirs.
    await expect.poll(() => acceptedOf(tab), { timeout: 60_000 }).toBeGreaterThan(credit[i] ?? 0)
    await expect(stateOf(tab)).not.toHaveAttribute('data-state', /failed|stopped/)
  }
  await expect(page.getByText(/rolled back from round \d+ to 0; \d+ contributions/)).toBeVisible()
})

const hashesOf = ({ weights }: Run) => weights?.map(({ hash }) => hash)

const acceptedOf = async (tab: Page): Promise<number> =>
  Number(await tab.getByTestId('my-accepted').getAttribute('data-value'))
