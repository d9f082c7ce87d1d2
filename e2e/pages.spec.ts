/** The volunteer page before anybody clicks. */
import { expect, stateOf, test } from './table.ts'

test.use({ begins: 'empty' })

test('a page opened insecurely says what is wrong and what to do, and cannot start', async ({
  page,
  coordinator,
}) => {
  await page.goto(coordinator.url.replace('localhost', 'potluck.test'))
  await expect(stateOf(page)).toHaveAttribute('data-state', 'insecure')
  await expect(page.getByRole('alert')).toContainText('https://potluck.test')
  await expect(page.getByRole('button', { name: 'Start contributing' })).toBeDisabled()
})

test('nothing starts by itself, and a phone needs no sideways scrolling', async ({ page, coordinator }) => {
  await page.setViewportSize({ width: 390, height: 844 })
  await page.goto(coordinator.url)
  await expect(stateOf(page)).toHaveAttribute('data-state', 'ready')
  const { isolated, width } = await page.evaluate(() => ({
    isolated: crossOriginIsolated,
    width: document.documentElement.scrollWidth,
  }))
  expect(isolated).toBe(true)
  expect(width).toBeLessThanOrEqual(390)
  await expect(page.getByRole('button', { name: 'Start contributing' })).toBeEnabled()
})
