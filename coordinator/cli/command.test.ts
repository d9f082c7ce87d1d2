import { describe, expect, test } from 'vitest'
import { type Action, type Command, type Given, runCommand, wholeNumber } from './command.ts'

const seen: Given[] = []
const boil: Action = {
  usage: '<dish> [--minutes <number>] [--salt]',
  summary: 'Boils a dish.',
  options: { minutes: { type: 'string' }, salt: { type: 'boolean' } },
  positionals: [1, 1],
  run: async (given) => void seen.push(given),
}
const commands: Record<string, Command> = { pot: { summary: 'Pots', actions: { boil } }, boil }

async function run(argv: string[], environment = {}): Promise<string> {
  const lines: string[] = []
  await runCommand(commands, argv, { environment, print: (line) => lines.push(line) })
  return lines.join('\n')
}

describe('a command line', () => {
  test('reaches its action with what was given', async () => {
    await run(['pot', 'boil', 'soup', '--minutes', '5', '--salt'], { POTLUCK_DATA: '/kitchen' })
    expect(seen.at(-1)).toEqual({
      positionals: ['soup'],
      values: { minutes: '5' },
      switches: new Set(['salt']),
      data: '/kitchen',
    })
  })

  test('reaches an action that stands alone', async () => {
    await run(['boil', 'stew'])
    expect(seen.at(-1)?.positionals).toEqual(['stew'])
    expect(await run(['boil', '--help'])).toContain('npm run potluck -- boil <dish>')
  })

  test('names its data folder itself, or has ./data', async () => {
    await run(['pot', 'boil', 'soup', '--data', '/here'], { POTLUCK_DATA: '/kitchen' })
    expect(seen.at(-1)?.data).toBe('/here')
    await run(['pot', 'boil', 'soup'])
    expect(seen.at(-1)?.data).toBe('./data')
  })

  test.each([
    [[], 'pot '],
    [['--help'], 'pot '],
    [['pot', '--help'], 'boil <dish>'],
    [['pot', 'boil', '--help'], 'Boils a dish.'],
  ])('%j explains', async (argv, text) => {
    expect(await run(argv)).toContain(text)
  })

  test.each([
    [['pan'], 'There is no command "pan". There is: pot, boil.'],
    [['constructor'], 'There is no command "constructor".'],
    [['pot', 'fry'], 'There is no "pot" command "fry". There is: boil.'],
    [
      ['pot', 'boil'],
      'it takes 1 arguments without a dash, not 0. Usage: npm run potluck -- pot boil <dish>',
    ],
    [['pot', 'boil', 'soup', '--pepper'], "Unknown option '--pepper'"],
    [['pot', 'boil', 'soup', '--minutes'], 'argument missing'],
  ])('%j is refused with what would do', async (argv, text) => {
    const message = expect.stringContaining(text)
    await expect(run(argv)).rejects.toMatchObject({ name: 'PotluckError', code: 'bad-request', message })
  })
})

describe('a whole number', () => {
  const given = (minutes?: string): Given => ({
    positionals: [],
    values: { minutes },
    switches: new Set(),
    data: '',
  })
  const bounds = { least: 1, most: 60, otherwise: 10 }
  test('is read, or the usual one', () => {
    expect(wholeNumber(given('60'), 'minutes', bounds)).toBe(60)
    expect(wholeNumber(given(), 'minutes', bounds)).toBe(10)
  })
  test.each(['0', '61', '1.5', '-1', '', 'x'])('is refused when it is %j', (text) => {
    expect(() => wholeNumber(given(text), 'minutes', bounds)).toThrow(
      '--minutes must be a whole number from 1 to 60',
    )
  })
})
