/** Text of one's own: imported on the command line while the coordinator runs, chosen in the panel, trained on in a tab. */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { contribute, createRun, expect, press, test } from './table.ts'

test('a tab trains on an imported corpus, with its vocabulary', async ({ browser, page, coordinator }) => {
  const file = join(coordinator.folder, 'dishes.jsonl')
  const text = (i: number) => `Dish ${i}. ${'The soup of the day is the pot of the night. '.repeat(10)}`
  writeFileSync(file, Array.from({ length: 300 }, (_, i) => JSON.stringify({ text: text(i) })).join('\n'))
  const argv = ['corpus', 'add', file, '--name', 'Dishes', '--vocab', '320', '--licence', 'CC0-1.0']
  const said = execFileSync(process.execPath, ['--import', 'tsx', 'coordinator/potluck.ts', ...argv], {
    env: { ...process.env, POTLUCK_DATA: coordinator.folder },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  expect(said).toContain('300 documents')

  await createRun(page, coordinator, { innerSteps: 20, replicas: 1, quorum: 1, rounds: 2, corpus: 'Dishes' })
  const row = page.locator('#corpora tbody tr')
  await expect(row).toContainText('Dishes')
  await expect(row).toContainText('CC0-1.0')
  await contribute(browser, coordinator.url)
  await press(page, 'Start')
  const run = await coordinator.until('two merged rounds', ({ status }) => status === 'completed')
  // 20 steps of 4 sequences of 64 tokens, and of so simple a text much is learned at once. ln 320 is 5.77.
  expect(run.history.length).toBe(2)
  expect(run.history[1]?.trainLoss).toBeLessThan(5.5)
})
