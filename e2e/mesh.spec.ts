/** Volunteers who agreed exchange pseudo-gradients over WebRTC; the coordinator receives and sends what one of them would. */
import { contributeTogether, createRun, expect, press, test, wayOf } from './table.ts'

/** int8: 258 bytes a block of 256 values. `nano` has 172,480 parameters, 673 blocks and 192 values. */
const CONTRIBUTION = 258 * 673 + 2 + 192

test('two tabs average among themselves, and every exchange is looked at', async ({
  browser,
  page,
  coordinator,
}) => {
  await createRun(page, coordinator, {
    ...{ innerSteps: 20, replicas: 2, quorum: 2, rounds: 4, strict: true, groupSize: 2, auditRate: 1 },
  })
  const tabs = [
    await contributeTogether(browser, coordinator.url),
    await contributeTogether(browser, coordinator.url),
  ]
  for (const tab of tabs) await expect(wayOf(tab)).toHaveAttribute('data-value', 'group', { timeout: 60_000 })
  await press(page, 'Start')
  const run = await coordinator.until('the last round', ({ status }) => status === 'completed', 180)
  for (const { replicas, steps, tokens, bytesUp } of run.history) {
    expect({ replicas, steps, tokens }).toEqual({ replicas: 2, steps: 40, tokens: 40 * 4 * 64 })
    expect(bytesUp).toBeGreaterThanOrEqual(CONTRIBUTION)
    expect(bytesUp).toBeLessThan(1.01 * CONTRIBUTION) // one mean, not two contributions
  }
  expect(run.history.at(-1)?.bytesDown).toBeLessThan(1.01 * CONTRIBUTION) // one delta, in two halves
  for (const tab of tabs) {
    await expect(tab.getByTestId('my-accepted')).toHaveAttribute('data-value', '4')
    expect(Number(await tab.getByTestId('peer-bytes').getAttribute('data-value'))).toBeGreaterThan(
      2 * CONTRIBUTION,
    )
  }
})

test('four tabs in two processes go on as a group, without one who closes, and with one who agrees no more', async ({
  browser,
  page,
  coordinator,
  playwright,
}) => {
  const { launchOptions } = test.info().project.use
  const other = await playwright.chromium.launch(launchOptions)
  await createRun(page, coordinator, {
    ...{ innerSteps: 20, replicas: 4, quorum: 2, rounds: 30, deadlineSeconds: 60, groupSize: 4 },
  })
  const tabs = []
  for (const one of [browser, other, browser, other])
    tabs.push(await contributeTogether(one, coordinator.url))
  for (const tab of tabs)
    await expect(wayOf(tab)).toContainText('a group with 3 other volunteers', { timeout: 90_000 })
  await press(page, 'Start')
  const before = await coordinator.until('two rounds', ({ round }) => round > 2, 120)
  for (const { replicas, bytesUp } of before.history) {
    expect(replicas).toBe(4)
    expect(bytesUp).toBeLessThan(1.01 * CONTRIBUTION)
  }
  await tabs.pop()?.context().close() // in mid-round; its lease ends after the grace time
  const without = await coordinator.until('two rounds of three', ({ history }) => threes(history) >= 2, 150)
  await tabs[0]?.getByLabel('Exchange updates directly').uncheck()
  if (tabs[0]) await expect(wayOf(tabs[0])).toHaveAttribute('data-value', 'direct')
  // One mean of two, and one contribution by itself.
  await coordinator.until(
    'a round with both ways',
    ({ round, history }) =>
      round > without.round + 1 &&
      (history.at(-1)?.bytesUp ?? 0) === 2 * CONTRIBUTION &&
      history.at(-1)?.replicas === 3,
    120,
  )
  await other.close()
})

/** Rounds in which three came as one mean. */
const threes = (history: readonly { replicas: number; bytesUp: number }[]) =>
  history.filter(({ replicas, bytesUp }) => replicas === 3 && bytesUp < 1.01 * CONTRIBUTION).length

test('eight tabs are one group', async ({ browser, page, coordinator }) => {
  test.skip(
    process.env.TEST_LARGE === undefined,
    'eight engines on one machine take minutes: set TEST_LARGE=1',
  )
  await createRun(page, coordinator, {
    ...{ innerSteps: 5, replicas: 8, quorum: 8, rounds: 2, strict: true, groupSize: 8, deadlineSeconds: 300 },
  })
  const tabs = []
  for (let i = 0; i < 8; i++) tabs.push(await contributeTogether(browser, coordinator.url))
  for (const tab of tabs)
    await expect(wayOf(tab)).toHaveAttribute('data-value', 'group', { timeout: 120_000 })
  await press(page, 'Start')
  const run = await coordinator.until('the last round', ({ status }) => status === 'completed', 200)
  for (const { replicas, bytesUp } of run.history) {
    expect(replicas).toBe(8)
    expect(bytesUp).toBeLessThan(1.01 * CONTRIBUTION)
  }
})
