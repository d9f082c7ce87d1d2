/** What a command of `npm run potluck` is, and how one is found, explained and run. The commands are siblings. */
import { type ParseArgsConfig, parseArgs } from 'node:util'
import { PotluckError } from '../../shared/protocol/errors.ts'

/** The world of a command, so that tests have one of their own. */
export interface Surroundings {
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Of results; progress goes to stderr. */
  readonly print: (line: string) => void
}

export type Options = NonNullable<ParseArgsConfig['options']>

/** One thing to do, such as `corpus add`. Its flags `--data` and `--help` are added here. */
export interface Action {
  /** What follows the action's name, e.g. `<path> --name …`. */
  readonly usage: string
  readonly summary: string
  readonly options: Options
  /** Positional arguments: how many at least, and at most. */
  readonly positionals: readonly [least: number, most: number]
  run(given: Given, surroundings: Surroundings): Promise<void>
}

export interface Given {
  readonly positionals: readonly string[]
  /** Of options of type `string`; absent when not given. */
  readonly values: Readonly<Record<string, string | undefined>>
  /** Of options of type `boolean` that were given. */
  readonly switches: ReadonlySet<string>
  /** The data folder. */
  readonly data: string
}

/** A noun with its actions. */
export interface Group {
  readonly summary: string
  readonly actions: Readonly<Record<string, Action>>
}

/** A noun with its actions, such as `corpus`, or an action that stands alone, such as `eval`. */
export type Command = Group | Action

const COMMON: Options = { data: { type: 'string' }, help: { type: 'boolean', short: 'h' } }

/** @throws PotluckError `bad-request` for what cannot be understood, and whatever the action throws. */
export async function runCommand(
  commands: Readonly<Record<string, Command>>,
  argv: readonly string[],
  surroundings: Surroundings,
): Promise<void> {
  const [noun, ...words] = argv
  if (noun === undefined || isHelp(noun)) return surroundings.print(helpOfAll(commands))
  const command = own(commands, noun)
  if (command === undefined) throw unknown('command', noun, Object.keys(commands))
  if (!('actions' in command)) return runAction(noun, command, words, surroundings)
  const [verb, ...rest] = words
  if (verb === undefined || isHelp(verb)) return surroundings.print(helpOfGroup(noun, command))
  const action = own(command.actions, verb)
  if (action === undefined) throw unknown(`"${noun}" command`, verb, Object.keys(command.actions))
  return runAction(`${noun} ${verb}`, action, rest, surroundings)
}

async function runAction(
  name: string,
  action: Action,
  argv: readonly string[],
  surroundings: Surroundings,
): Promise<void> {
  if (argv.some(isHelp)) return surroundings.print(helpOfAction(name, action))
  await action.run(read(name, action, argv, surroundings.environment), surroundings)
}

function read(
  name: string,
  action: Action,
  argv: readonly string[],
  environment: Surroundings['environment'],
): Given {
  const { values, positionals } = parse(name, action, argv)
  const [least, most] = action.positionals
  if (positionals.length < least || positionals.length > most) {
    const wanted = least === most ? `${least}` : `${least} to ${most}`
    throw misused(name, action, `it takes ${wanted} arguments without a dash, not ${positionals.length}`)
  }
  const entries = Object.entries(values)
  return {
    positionals,
    values: Object.fromEntries(
      entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
    ),
    switches: new Set(entries.filter(([, value]) => value === true).map(([key]) => key)),
    data: (values.data as string | undefined) ?? environment.POTLUCK_DATA ?? './data', // COMMON: a string
  }
}

function parse(name: string, action: Action, argv: readonly string[]) {
  try {
    const options = { ...action.options, ...COMMON }
    return parseArgs({ args: [...argv], options, allowPositionals: true, strict: true })
  } catch (error) {
    throw misused(name, action, error instanceof Error ? error.message : String(error))
  }
}

/** A whole number that an option gives, or `otherwise`. @throws PotluckError `bad-request` */
export function wholeNumber(
  given: Given,
  option: string,
  { least, most, otherwise }: { least: number; most: number; otherwise: number },
): number {
  const text = given.values[option]
  if (text === undefined) return otherwise
  const value = Number(text)
  if (/^\d+$/.test(text) && value >= least && value <= most) return value
  throw new PotluckError(
    'bad-request',
    `--${option} must be a whole number from ${least} to ${most}, not "${text}".`,
  )
}

const isHelp = (word: string) => word === '--help' || word === '-h'

function own<T>(table: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined
}

function unknown(kind: string, name: string, known: readonly string[]): PotluckError {
  return new PotluckError('bad-request', `There is no ${kind} "${name}". There is: ${known.join(', ')}.`)
}

function misused(name: string, { usage }: Action, why: string): PotluckError {
  const sentence = why.replace(/\.+$/, '')
  return new PotluckError('bad-request', `${sentence}. Usage: npm run potluck -- ${name} ${usage}`)
}

function helpOfAll(commands: Readonly<Record<string, Command>>): string {
  const lines = Object.entries(commands).map(([noun, { summary }]) => `  ${noun.padEnd(12)}${summary}`)
  return ['Usage: npm run potluck -- <command> <action> [options]', '', ...lines].join('\n')
}

function helpOfGroup(noun: string, { summary, actions }: Group): string {
  const lines = Object.entries(actions).flatMap(([verb, action]) => [
    `  ${`${noun} ${verb} ${action.usage}`.trimEnd()}`,
    `      ${action.summary}`,
  ])
  return [summary, '', ...lines, '', `  ${DATA_HELP}`].join('\n')
}

function helpOfAction(name: string, action: Action): string {
  return [`npm run potluck -- ${name} ${action.usage}`, '', action.summary, DATA_HELP].join('\n')
}

const DATA_HELP = '--data <folder>: the data folder; POTLUCK_DATA or ./data otherwise'
