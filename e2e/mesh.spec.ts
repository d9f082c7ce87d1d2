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
