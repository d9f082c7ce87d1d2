/** What travels: fragments in turn, updates and weights in few bytes, and only what is new. */
import { contribute, createRun, expect, press, test } from './table.ts'

/**
 * `nano` in two fragments, worked by hand: a layer has 64 + 4·64² + 2·32 + 64 + 3·64·192 = 53,440 parameters; the first
 * fragment has layer 0, the embedding (1,024·64) and the final norm (64), the second layer 1.
 */
const PARAMETERS = [65_536 + 53_440 + 64, 53_440] as const

/** int4: 130 bytes a block of 256, the last one 2 and half a byte a value. int8: 258, and 2 and a byte. */
const int4 = (n: number) => 130 * Math.floor(n / 256) + (n % 256 === 0 ? 0 : 2 + Math.ceil((n % 256) / 2))
const int8 = (n: number) => 258 * Math.floor(n / 256) + (n % 256 === 0 ? 0 : 2 + (n % 256))

test('fragments go up in turn as int4, and after the first rounds only their deltas come down', async ({
  browser,
  page,
  coordinator,
}) => {
  await createRun(page, coordinator, {
    innerSteps: 20,
    fragments: 2,
    replicas: 2,
    quorum: 2,
    rounds: 6,
    codec: 'int4',
    downlink: 'int8',
    strict: true,
  })
  const tabs = [await contribute(browser, coordinator.url), await contribute(browser, coordinator.url)]
  await coordinator.until('two volunteers', (run) => run.present === 2)
  await press(page, 'Start')
  const run = await coordinator.until('the last round', ({ status }) => status === 'completed', 180)
  const fragmentOf = (round: number) => PARAMETERS[(round - 1) % 2] ?? 0
  for (const { round, replicas, steps, tokens, bytesUp, bytesDown } of run.history) {
    expect({ round, replicas, steps, tokens, bytesUp }).toEqual({
      round,
      replicas: 2,
      steps: 2 * 10,
      tokens: 2 * 10 * 4 * 64,
      bytesUp: 2 * int4(fragmentOf(round)),
    })
    // A snapshot would be four bytes a parameter. The hash of every sum is checked: a tab that was one bit off would
    // have fetched one. Early rounds also bring the text, whole or in part.
    if (round > 3) expect(bytesDown).toBe(2 * int8(fragmentOf(round - 1)))
  }
  // Data parallelism: a gradient of two bytes a parameter up and its mean down, every step of every tab.
  const { steps, bytesUp, bytesDown } = run.history.at(-1) ?? { steps: 0, bytesUp: 0, bytesDown: 0 }
  const timesLess = (4 * (PARAMETERS[0] + PARAMETERS[1]) * steps) / (bytesUp + bytesDown)
  await expect(page.locator('tr[data-round="6"]')).toContainText(`${Math.round(timesLess)}×`)
  for (const tab of tabs) {
    await expect(tab.getByTestId('times-less')).toHaveAttribute('data-value', String(timesLess))
    await expect(tab.getByTestId('my-accepted')).toHaveAttribute('data-value', '6')
    const sent = PARAMETERS.reduce((sum, n) => sum + 3 * int4(n), 0)
    await expect(tab.getByTestId('bytes-up')).toHaveAttribute('data-value', String(sent))
    expect(Number(await tab.getByTestId('utilisation').getAttribute('data-value'))).toBeGreaterThan(0)
  }
})

test('a reloaded tab goes on from its own disk', async ({ browser, page, coordinator }) => {
  await createRun(page, coordinator, { innerSteps: 20, replicas: 1, quorum: 1, rounds: 50, strict: true })
  const tab = await contribute(browser, coordinator.url)
  await coordinator.until('a volunteer', (run) => run.present === 1)
  await press(page, 'Start')
  await coordinator.until('round 3', (run) => run.round >= 3)
  await press(page, 'Pause')
  await expect(tab.getByText('paused', { exact: false }).first()).toBeVisible({ timeout: 60_000 })
  const paused = await coordinator.until('the pause', (run) => run.status === 'paused')
  await tab.reload()
  await tab.getByRole('button', { name: 'Start contributing' }).click()
  await coordinator.until('the volunteer again', (run) => run.present === 1)
  await press(page, 'Resume')
  await coordinator.until('another round', (run) => run.round > paused.round)
  await expect(tab.getByTestId('my-accepted')).not.toHaveAttribute('data-value', '0')
  // Weights, manifest, tokenizer and text are on disk; at most the newest delta comes over the network.
  const received = Number(await tab.getByTestId('bytes-down').getAttribute('data-value'))
  expect(received).toBeLessThanOrEqual(3 * int8(172_480))
})
