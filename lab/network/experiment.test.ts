import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { SILENT } from '../common/report.ts'
import { modelNetworks } from './experiment.ts'

it('lab -- network writes its tables and plots, none of them with a hole', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'potluck-network-test-'))
  try {
    const { findings, tables, plots } = await modelNetworks(['--out', folder], SILENT)
    expect(findings[0]).toContain('of 75 cells are the paper’s')
    expect(findings[0]).toContain(', 0 further')
    for (const { id } of tables) {
      expect(await readFile(join(folder, `network-${id}.csv`), 'utf8')).not.toMatch(/NaN|undefined|Infinity/)
    }
    for (const { id } of plots) {
      expect(await readFile(join(folder, `network-${id}.svg`), 'utf8')).not.toMatch(/NaN|undefined|Infinity/)
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})
