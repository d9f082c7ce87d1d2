import { expect, test } from 'vitest'
import { lineOf, progressTo } from './progress.ts'

test('a line says how far, how fast and how long still', () => {
  // A quarter of 400 MB in 10 s: 10 MB/s, 300 MB left.
  const standing = { what: 'reading', done: 100e6, total: 400e6, seconds: 10, made: 100e6 }
  expect(lineOf(standing)).toBe('reading [######..................] 25 % of 400.0 MB, 10.0 MB/s, 30 s left')
  // Gone on from half: only what was made since counts.
  expect(lineOf({ ...standing, done: 200e6, made: 1e6, seconds: 10 })).toContain('0.1 MB/s, 33 min 20 s left')
  expect(lineOf({ ...standing, total: 0 })).toBe('reading: 100.0 MB, 10.0 MB/s')
})

test('a log gets a line every ten seconds, a terminal one line in place', () => {
  let now = 0
  const written: string[] = []
  const write = (text: string) => written.push(text)
  const log = progressTo({ write }, () => now)
  for (; now < 25_000; now += 1_000) log.show('reading', now, 25_000)
  log.end()
  expect(written.length).toBe(3)
  written.length = 0
  const terminal = progressTo({ write, isTTY: true }, () => now)
  terminal.show('reading', 1, 2)
  terminal.end()
  expect(written).toEqual([expect.stringMatching(/^\rreading \[/), '\n'])
})
