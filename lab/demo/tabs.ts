/** Headless tabs that contribute, each in a browser context of its own: three volunteers, not one. */
import { type Browser, chromium, type Page } from 'playwright'
import { CHROMIUM_FLAGS, findChromium } from '../../e2e/chromium.ts'

export interface Tab {
  readonly page: Page
  /** Errors that nothing on the page caught. */
  readonly faults: readonly string[]
}

export interface Tabs {
  readonly tabs: readonly Tab[]
  close(): Promise<void>
}

/** A line to the coordinator, as Chromium slows it down for HTTP; sockets are left as they are. */
export interface Line {
  readonly megabitsUp: number
  readonly megabitsDown: number
  readonly latencyMs: number
}

/** Opens the page so many times and presses the button. */
export async function openTabs(url: string, count: number, line?: Line): Promise<Tabs> {
  const browser = await chromium.launch({ executablePath: await findChromium(), args: CHROMIUM_FLAGS })
  try {
    const tabs = await Promise.all(Array.from({ length: count }, () => openTab(browser, url, line)))
    return { tabs, close: () => browser.close() }
  } catch (error) {
    await browser.close()
    throw error
  }
}

async function openTab(browser: Browser, url: string, line?: Line): Promise<Tab> {
  const context = await browser.newContext()
  const page = await context.newPage()
  if (line) await slowDown(page, line)
  const faults: string[] = []
  page.on('pageerror', (error) => faults.push(error.message))
  await page.goto(url)
  await page.getByRole('button', { name: 'Start contributing' }).click()
  return { page, faults }
}

async function slowDown(page: Page, { megabitsUp, megabitsDown, latencyMs }: Line): Promise<void> {
  const session = await page.context().newCDPSession(page)
  await session.send('Network.enable')
  await session.send('Network.emulateNetworkConditions', {
    offline: false,
    latency: latencyMs,
    uploadThroughput: (megabitsUp * 1e6) / 8,
    downloadThroughput: (megabitsDown * 1e6) / 8,
  })
}

/** What a tab says when it cannot go on; null while all is well. */
export async function troubleOf({ page, faults }: Tab): Promise<string | null> {
  if (faults[0] !== undefined) return faults[0]
  const state = await page.locator('[data-state]').first().getAttribute('data-state')
  const trouble = ['failed', 'removed', 'insecure', 'unsupported', 'other-tab'].includes(state ?? '')
  return trouble ? `${state}: ${(await page.locator('body').innerText()).slice(0, 300)}` : null
}
