/** `tasks`, `eval` and `checkpoint` beside a real coordinator with a run in its folder. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ROUTES } from '../../shared/protocol/admin.ts'
import type { Coordinator } from '../coordinator.ts'
import { logInFirst, post, smallRun, startOn, until } from '../testing.ts'
import { checkpointCommand } from './checkpoint.ts'
import { runCommand } from './command.ts'
import { evalCommand } from './eval.ts'
import { tableOf } from './table.ts'
import { tasksCommand } from './tasks.ts'

const COMMANDS = { tasks: tasksCommand, eval: evalCommand, checkpoint: checkpointCommand }
let folder: string
let coordinator: Coordinator
let run: string

async function potluck(...argv: string[]): Promise<string> {
  const lines: string[] = []
  const print = (line: string) => void lines.push(line)
  await runCommand(COMMANDS, argv, { environment: { POTLUCK_DATA: folder }, print })
  return lines.join('\n')
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'potluck-cli-'))
  coordinator = await startOn(folder)
  const operator = await logInFirst(coordinator)
  await post(coordinator.url + ROUTES.adminRuns, smallRun, operator)
  await until(() => coordinator.runs.view()?.weights != null, 'the weights')
  run = coordinator.runs.view()?.id ?? ''
  const rows = Array.from({ length: 6 }, (_, i) => ({
    question: `What is ${i} and ${i}?`,
    choices: [`${i}`, `it is ${2 * i}`, 'nothing', 'all of it'],
    gold: i % 4,
  }))
  writeFileSync(join(folder, 'arc.jsonl'), rows.map((row) => JSON.stringify(row)).join('\n'))
}, 60_000)
afterAll(async () => {
  await coordinator?.stop()
  rmSync(folder, { recursive: true, force: true })
})

describe('commands', () => {
  it('import tasks, measure a checkpoint and print the table', async () => {
    await expect(potluck('eval', run)).rejects.toMatchObject({ code: 'bad-task' })
    expect(await potluck('tasks', 'list')).toBe('None is imported.')
    expect(await potluck('tasks', 'add', 'arc_easy', join(folder, 'arc.jsonl'))).toBe(
      'arc_easy: 6 examples are imported.',
    )
    expect(await potluck('tasks', 'list')).toMatch(/^Task +Examples +Imported +From\narc_easy +6 +20/)
    const table = await potluck('eval', `${run}/0`, '--tasks', 'arc_easy,piqa', '--limit', '4')
    const [weights, heading, row, ...more] = table.split('\n')
    expect(weights).toContain(
      `Test (${run}), round 0, weights ${coordinator.runs.view()?.weights?.[0]?.hash}`,
    )
    expect(heading).toMatch(/^Task +Examples +acc +± +acc_norm +± +Chance$/)
    expect(row).toMatch(/^arc_easy +4( +\d+\.\d\d %){4} +25\.00 %$/)
    expect(more).toEqual([])
    expect(await potluck('eval', 'latest', '--limit', '4')).toBe(table)
    expect(await potluck('tasks', 'remove', 'arc_easy')).toBe('arc_easy is removed.')
  }, 60_000)

  it('list checkpoints and write their files', async () => {
    expect(await potluck('checkpoint', 'list')).toMatch(
      new RegExp(
        `^Checkpoint +Run +Preset +Loss +Bits/byte +MB +Kept as\n${run}/0 +Test +nano +[–\\d.]+ .* start`,
      ),
    )
    const to = join(folder, 'out')
    await potluck('checkpoint', 'export', run, '--to', to)
    const weights = readFileSync(join(to, 'model.safetensors'))
    const served = await fetch(
      `${coordinator.url}${ROUTES.blob(coordinator.runs.view()?.weights?.[0]?.hash ?? '')}`,
    )
    expect(weights.length).toBeGreaterThan((await served.arrayBuffer()).byteLength)
    expect(JSON.parse(readFileSync(join(to, 'config.json'), 'utf8'))).toMatchObject({ vocab_size: 1_024 })
    expect(JSON.parse(readFileSync(join(to, 'tokenizer.json'), 'utf8'))).toHaveProperty('model')
  })

  it.each([
    [
      ['tasks', 'add', 'mmlu', 'x'],
      'bad-request',
      'There is no task "mmlu". There is: hellaswag, piqa, arc_easy.',
    ],
    [['tasks', 'add', 'piqa', '/nowhere'], 'not-found', '/nowhere cannot be read'],
    [['eval', 'no-such-run'], 'not-found', 'There is no run no-such-run.'],
    [['eval', 'a b'], 'bad-request', '"a b" names no checkpoint'],
    [['eval', 'latest/7'], 'not-found', 'no checkpoint of round 7. Rounds with one: 0.'],
    [['eval', 'latest', '--limit', '0'], 'bad-request', '--limit must be a whole number from 1'],
  ])('%j is refused with the reason', async (argv, code, text) => {
    await expect(potluck(...argv)).rejects.toMatchObject({ code, message: expect.stringContaining(text) })
  })
})

it('a table has its numbers to the right', () => {
  expect(
    tableOf([
      ['a', 'number'],
      ['long word', '1'],
      ['b', '23 %'],
    ]),
  ).toBe('a          number\nlong word       1\nb            23 %')
})
