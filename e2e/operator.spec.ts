/** The operator's panel, and what a bad contribution looks like from both sides. */
import {
  contribute,
  createRun,
  endRun,
  expect,
  PASSWORD,
  press,
  spoilUploads,
  stateOf,
  test,
} from './table.ts'

test.use({ begins: 'empty' })

test('the operator logs in, creates, pauses, resumes, removes and ends', async ({
  browser,
  page,
  coordinator,
}) => {
  await createRun(page, coordinator, { innerSteps: 60, replicas: 2, quorum: 1, rounds: 50 })
  await press(page, 'Log out')
  await page.getByLabel('Password', { exact: true }).fill('not the password')
  await press(page, 'Log in')
  await expect(page.getByText('That is not the password')).toBeVisible()
  await page.getByLabel('Password', { exact: true }).fill(PASSWORD)
  await press(page, 'Log in')
  await expect(page.getByTestId('run-status')).toHaveAttribute('data-value', 'ready')

  const ann = await contribute(browser, coordinator.url)
  await expect(stateOf(ann)).toHaveAttribute('data-state', 'waiting')
  await press(page, 'Start')
  await expect(stateOf(ann)).toHaveAttribute('data-state', 'training')
  await expect(page.locator('tr[data-volunteer][data-state=training]')).toHaveCount(1)

  await expect(page.getByText('Live data stopped')).toHaveCount(0)
  await press(page, 'Pause')
  await expect(page.getByTestId('run-status')).toHaveAttribute('data-value', 'paused')
  await expect(stateOf(ann)).toHaveAttribute('data-state', 'waiting', { timeout: 60_000 })
  await expect(ann.getByRole('status')).toContainText(/paused/i)
  await press(page, 'Resume')
  await expect(page.getByTestId('run-status')).toHaveAttribute('data-value', 'running')
  await expect(stateOf(ann)).toHaveAttribute('data-state', /training|loading/)

  await page.getByRole('button', { name: /^Remove / }).click()
  await page.getByLabel('Reason').fill('A test of removing.')
  await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click()
  await expect(stateOf(ann)).toHaveAttribute('data-state', 'removed')
  await expect(ann.getByText('A test of removing.').first()).toBeVisible()

  const download = page.waitForEvent('download')
  await page.getByRole('link', { name: 'Download latest weights' }).click()
  expect((await download).suggestedFilename()).toMatch(/\.safetensors$/)

  await endRun(page)
})

test('a tab whose numbers are broken is told so, the rest of the table is not harmed', async ({
  browser,
  page,
  coordinator,
}) => {
  await createRun(page, coordinator, {
    innerSteps: 20,
    replicas: 2,
    quorum: 1,
    rounds: 50,
    deadlineSeconds: 20,
  })
  const honest = await contribute(browser, coordinator.url)
  const broken = await contribute(browser, coordinator.url)
  await spoilUploads(broken)
  await coordinator.until('two volunteers', (run) => run.present === 2)
  await press(page, 'Start')
  await expect(broken.getByText('invalid numbers').first()).toBeVisible({ timeout: 90_000 })
  await expect(page.locator('tr[data-result=rejected]').first()).toContainText(/not-finite|invalid numbers/i)
  await expect(honest.getByTestId('my-accepted')).not.toHaveAttribute('data-value', '0', { timeout: 60_000 })
  await expect(broken.getByTestId('my-accepted')).toHaveAttribute('data-value', '0')
  await coordinator.until('a merged round', (run) => run.round >= 2)
})
