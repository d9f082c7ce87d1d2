/** Evaluations that volunteers measure, and the coordinator's own process, with real tabs. */
import { contribute, createRun, expect, press, test } from './table.ts'

test('volunteers measure every round between them, as the coordinator would', async ({
  browser,
  page,
  coordinator,
}) => {
  await createRun(page, coordinator, {
    innerSteps: 40,
    replicas: 2,
    quorum: 2,
    rounds: 2,
    strict: true,
    overlap: false,
    evaluation: 'volunteers',
  })
  const [first, second] = [
    await contribute(browser, coordinator.url),
    await contribute(browser, coordinator.url),
  ]
  const begun = await coordinator.until('the untrained model', ({ evaluation }) => evaluation !== null)
  expect(begun.evaluation).toMatchObject({ round: 0, slices: 4 }) // 100 sequences, 32 to a slice
  // Nobody trains yet: both wait for the start, and measure meanwhile.
  const { initialValLoss } = await coordinator.until('its loss', (run) => run.initialValLoss !== null)
  expect(initialValLoss).toBeGreaterThan(6.8) // ln 1,024 = 6.93
  expect(initialValLoss).toBeLessThan(7.1)
  await expect(first.getByTestId('slices')).toHaveAttribute('data-value', /[1-9]/)
  await expect(second.getByTestId('slices')).toHaveAttribute('data-value', /[1-9]/)
  await press(page, 'Start')
  // The last round's is measured after the run is over; one before it may have given way to it.
  const run = await coordinator.until('the last round measured', ({ history }) => history[1]?.valLoss != null)
  expect(run.status).toBe('completed')
  expect(run.history[1]?.valLoss).toBeLessThan((initialValLoss ?? 0) - 0.3)
  expect(run.evaluation).toBeNull()
})
