import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SILENT } from '../common/report.ts'
import { fitScaling, reportOf } from './experiment.ts'

describe('lab -- scaling', () => {
  let folder = ''
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'potluck-scaling-test-'))
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  it('with --paper writes the published laws', async () => {
    const { findings } = await fitScaling(['--paper', '--out', folder], SILENT)
    // The paper has 18.129 and −0.0953; 19.226, −0.0985 and 0.0116. Its losses have four digits.
    expect(findings).toContain('validation loss, data parallel: 18.17 · N^-0.0954.')
    expect(findings).toContain('validation loss, joint: 19.252 · N^-0.0986 · M^0.0116.')
    expect(await readFile(join(folder, 'scaling-paper-loss.svg'), 'utf8')).not.toMatch(/NaN|undefined/)
    expect(await readFile(join(folder, 'scaling-paper-laws.csv'), 'utf8')).toContain('joint')
  })

  it('says what is missing where there are no runs', async () => {
    await expect(fitScaling(['--from', folder, '--out', folder], SILENT)).rejects.toMatchObject({
      code: 'not-found',
    })
  })

  it('fits what it can: one size has no law', () => {
    const report = reportOf([{ method: 'M=1', n: 1_000, loss: 4, rate: 1e-3, batch: 16 }], {
      paper: false,
      quick: true,
      command: '',
    })
    expect(report.tables[0]?.rows).toEqual([])
  })
})
