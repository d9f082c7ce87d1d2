/**
 * `npm run potluck -- <command> <action> …`: the operator's commands, beside a running coordinator or without one; both
 * open the same data folder. To add a command: a file in cli/ and a line in COMMANDS.
 */
import { PotluckError } from '../shared/protocol/errors.ts'
import { checkpointCommand } from './cli/checkpoint.ts'
import { type Command, runCommand } from './cli/command.ts'
import { corpusCommand } from './cli/corpus.ts'
import { evalCommand } from './cli/eval.ts'
import { tasksCommand } from './cli/tasks.ts'

const COMMANDS: Readonly<Record<string, Command>> = {
  corpus: corpusCommand,
  tasks: tasksCommand,
  eval: evalCommand,
  checkpoint: checkpointCommand,
}

try {
  await runCommand(COMMANDS, process.argv.slice(2), { environment: process.env, print: console.log })
} catch (error) {
  console.error(error instanceof PotluckError ? `${error.message} (${error.code})` : error)
  process.exitCode = 1
}
