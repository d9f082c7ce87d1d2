/** A tab that dies in each phase of an exchange with two others costs its own part and nothing else. */
import type { Page } from '@playwright/test'
import { contributeTogether, createRun, expect, press, test, wayOf } from './table.ts'

/** At what a tab stops before it is killed; see client/mesh/frames.ts and shared/protocol/mesh.ts for what it holds back. */
const PHASES = ['passing weights on', 'scattering', 'reducing', 'auditing'] as const
type Phase = (typeof PHASES)[number]

declare global {
  interface Window {
    /** Set by what the page holds back. */
    isHeldBack?: boolean
    /** Every state there was of what `waysOf` tells. */
    ways?: Ways[]
  }
}

/** Whatever this tab does from there on stays with it. Answers whether it has got there. */
async function holdBack(page: Page, phase: Phase): Promise<() => Promise<boolean>> {
  if (phase === 'reducing' || phase === 'auditing') {
    let held = false
    const kinds = phase === 'reducing' ? ['mean'] : ['own', 'whole']
    await page.route(/\/exchanges\//, (route) => {
      const kind = new URL(route.request().url()).searchParams.get('kind') ?? ''
      if (!kinds.includes(kind)) return route.continue()
      held = true // and never answered
    })
    return async () => held
  }
  await page.evaluate(
    (message) => {
      const send = RTCDataChannel.prototype.send
      RTCDataChannel.prototype.send = function (this: RTCDataChannel, frame: ArrayBufferView<ArrayBuffer>) {
        if (new TextDecoder().decode(frame).includes(`"kind":"${message}"`)) window.isHeldBack = true
        if (!window.isHeldBack) send.call(this, frame)
      } as typeof send
    },
    phase === 'scattering' ? 'slice' : 'blob',
  )
  return () => page.evaluate(() => window.isHeldBack === true)
}

/** As when the system takes its memory: no goodbye. */
async function crash(page: Page): Promise<void> {
  const session = await page.context().newCDPSession(page)
  session.send('Page.crash').catch(() => undefined) // it answers no more
  await page.waitForEvent('crash')
}

/** The same volunteer in another tab, who agreed before. Its lease is its own again, so nobody waits for it. */
async function comeBack(page: Page): Promise<Page> {
  const again = await page.context().newPage()
  await again.goto(page.url())
  await again.getByRole('button', { name: 'Start contributing' }).click()
  await page.close()
  return again
}

/** Contributions of a tab that went through a group, and of those that were accepted all others. */
interface Ways {
  readonly exchanged: number
  readonly direct: number
}

/** Keeps what the page shows from now on: a round may be over before a test looks. */
const watchWays = (page: Page): Promise<void> =>
  page.evaluate(() => {
    const shown = (name: string, attribute: string) =>
      Number(document.querySelector(`[data-testid=${name}]`)?.getAttribute(attribute))
    const note = () => {
      const exchanged = shown('peer-bytes', 'data-exchanged')
      const ways = { exchanged, direct: shown('my-accepted', 'data-value') - exchanged }
      window.ways = [...(window.ways ?? []), ways]
    }
    note()
    const attributeFilter = ['data-exchanged', 'data-value']
    new MutationObserver(note).observe(document.body, { subtree: true, attributeFilter })
  })

const waysOf = (page: Page): Promise<Ways[]> => page.evaluate(() => window.ways ?? [])

test('who dies in a phase of an exchange leaves the others their mean', async ({
  browser,
  page,
  coordinator,
}) => {
  await createRun(page, coordinator, {
    ...{ innerSteps: 10, replicas: 3, quorum: 2, rounds: 1_000, overlap: false, deadlineSeconds: 60 },
    ...{ groupSize: 3, auditRate: 1 },
  })
  const others = [
    await contributeTogether(browser, coordinator.url),
    await contributeTogether(browser, coordinator.url),
  ]
  for (const tab of others) await watchWays(tab)
  let doomed = await contributeTogether(browser, coordinator.url)
  await press(page, 'Start')
  for (const phase of PHASES) {
    await test.step(phase, async () => {
      for (const tab of [doomed, ...others])
        await expect(wayOf(tab)).toContainText('a group with 2 other volunteers', { timeout: 90_000 })
      const isThere = await holdBack(doomed, phase)
      await expect.poll(isThere, { timeout: 60_000, intervals: [20] }).toBe(true)
      const before = await Promise.all(others.map(async (tab) => (await waysOf(tab)).at(-1)))
      await crash(doomed)
      for (const [i, tab] of others.entries()) {
        const { exchanged, direct } = before[i] ?? { exchanged: 0, direct: 0 }
        // Nobody has offered yet while weights are passed on: the others have their group formed anew, or do without.
        const isOver = (ways: Ways) =>
          phase === 'passing weights on'
            ? ways.exchanged + ways.direct > exchanged + direct
            : ways.exchanged > exchanged
        const next = async () => (await waysOf(tab)).find(isOver)
        await expect.poll(async () => (await next()) ?? { is: 'not over' }).toHaveProperty('exchanged')
        // What is exchanged shows before what is accepted.
        if (phase !== 'passing weights on') expect((await next())?.direct).toBeLessThanOrEqual(direct)
      }
      doomed = await comeBack(doomed)
    })
  }
  const { round, accepted } = (await coordinator.run()) ?? { round: 0, accepted: 0 }
  await coordinator.until('another round', (run) => run.round > round + 1 || run.accepted > accepted)
})
