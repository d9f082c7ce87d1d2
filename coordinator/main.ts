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
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      coordinator.stop().then(
        () => process.exit(0),
        (error: unknown) => fail(error),
      )
    })
  }
} catch (error) {
  fail(error)
}

function fail(error: unknown): never {
  if (error instanceof PotluckError) console.error(`${error.message} (${error.code})`)
  else console.error(error)
  process.exit(1)
}
