/** `npm start`: reads the configuration, starts the coordinator, says where it is, stops on a signal. */
import { PotluckError } from '../shared/protocol/errors.ts'
import { readConfig } from './config.ts'
import { startCoordinator } from './coordinator.ts'

try {
  const coordinator = await startCoordinator(readConfig(process.env))
  console.log(`\nPotluck is open. Volunteers: ${coordinator.url}/`)
  if (coordinator.setupToken === null) console.log(`Operator:  ${coordinator.url}/admin\n`)
  else {
    console.log(
      `Operator, set the password first (this link works once): ${coordinator.url}/admin?setup=${coordinator.setupToken}\n`,
    )
  }
  const stop = () => {
    coordinator.stop().then(
      () => process.exit(0),
      (error: unknown) => fail(error),
    )
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, stop)
  stopWithNpm(stop)
} catch (error) {
  fail(error)
}

/** npm passes a SIGTERM on to its shell and no further; a shell that is gone means that we were told to stop. */
function stopWithNpm(stop: () => void): void {
  if (process.env.npm_lifecycle_event === undefined) return
  const parent = process.ppid
  const watch = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(watch)
    stop()
  }, 500)
  watch.unref()
}

function fail(error: unknown): never {
  if (error instanceof PotluckError) console.error(`${error.message} (${error.code})`)
  else console.error(error)
  process.exit(1)
}
