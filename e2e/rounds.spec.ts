/** Real tabs train one model: together, leaving, joining, and through a coordinator that is killed. */
import { contribute, createRun, expect, press, stateOf, test } from './table.ts'

test('three tabs reach round 3 and the validation loss falls', async ({ browser, page, coordinator }) => {
  await createRun(page, coordinator, {
    innerSteps: 40,
    replicas: 3,
    quorum: 3,
    rounds: 3,
    strict: true,
  })
  const tabs = [coordinator.url, coordinator.url, coordinator.url].map((url) => contribute(browser, url))
  const pages = await Promise.all(tabs)
  await coordinator.until('three volunteers', (run) => run.present === 3)
  await press(page, 'Start')
  const run = await coordinator.until(
    'three measured rounds',
    ({ history }) => history.length === 3 && history.every((round) => round.valLoss !== null),
    180,
  )
  expect(run.status).toBe('completed')
  expect(run.history.map((round) => round.replicas)).toEqual([3, 3, 3])
  expect(run.tokens).toBe(3 * 3 * 40 * 4 * 64)
  // ln 1024 = 6.93 is what knowing nothing costs; the unigram level is about 6.3.
  expect(run.initialValLoss).toBeGreaterThan(6.8)
  expect(run.history[2]?.valLoss).toBeLessThan(6.4)
  for (const tab of pages) {
    await expect(tab.getByTestId('my-accepted')).toHaveAttribute('data-value', '3')
    await expect(tab.getByTestId('my-steps')).toHaveAttribute('data-value', '120')
    await expect(stateOf(tab)).toHaveAttribute('data-state', 'waiting')
  }
})

test('a tab closes in mid-round, another joins in mid-run, and rounds go on', async ({
  browser,
  page,
  coordinator,
}) => {
  await createRun(page, coordinator, { innerSteps: 60, replicas: 2, quorum: 1, rounds: 50 })
  const first = await contribute(browser, coordinator.url)
  const second = await contribute(browser, coordinator.url)
  await coordinator.until('two volunteers', (run) => run.present === 2)
  await press(page, 'Start')
  await expect(stateOf(second)).toHaveAttribute('data-state', 'training')
  const before = await coordinator.until('a round with two leases', (run) => run.leased === 2)
  await second.context().close()
  await coordinator.until('the next round', (run) => run.round > before.round)
  const third = await contribute(browser, coordinator.url)
  await expect(third.getByTestId('my-accepted')).not.toHaveAttribute('data-value', '0', { timeout: 120_000 })
  await expect(first.getByTestId('my-accepted')).not.toHaveAttribute('data-value', '0')
  const after = await coordinator.until(
    'a round of two again',
    ({ history }) => history.at(-1)?.replicas === 2,
  )
  expect(after.history[0]?.replicas).toBe(1)
})

test('the coordinator is killed in mid-round and nothing accepted is lost', async ({
  browser,
  page,
  coordinator,
}) => {
  await createRun(page, coordinator, {
    innerSteps: 40,
    replicas: 2,
    quorum: 2,
    rounds: 50,
    deadlineSeconds: 600,
    strict: true,
  })
  const slow = await contribute(browser, coordinator.url)
  const quick = await contribute(browser, coordinator.url)
  await coordinator.until('two volunteers', (run) => run.present === 2)
  await press(page, 'Start')
  await coordinator.until('a merged round, so that there is momentum', (run) => run.round >= 2)
  await expect(stateOf(slow)).toHaveAttribute('data-state', 'training')
  await press(slow, 'Pause')
  const before = await coordinator.until('one accepted contribution', (run) => run.accepted === 1)
  await coordinator.kill()
  await coordinator.start()
  const restarted = await coordinator.until('the run again', () => true)
  expect(restarted).toMatchObject({
    round: before.round,
    accepted: 1,
    weights: before.weights,
    tokens: before.tokens,
  })
  await press(slow, 'Resume')
  const after = await coordinator.until('the round’s end', (run) => run.round > before.round)
  expect(after.history[before.round - 1]).toMatchObject({
    round: before.round,
    replicas: 2,
    tokens: 2 * 40 * 4 * 64,
  })
  await coordinator.until('another round', (run) => run.round > before.round + 1)
  await expect(stateOf(quick)).toHaveAttribute('data-state', /training|loading|waiting|sending|checking/)
  expect(await coordinator.terminate()).toBe(0)
})
