import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { chartOf } from '../common/chart.ts'
import { publish, type Report, SILENT } from '../common/report.ts'
import { makeReport } from './experiment.ts'

const svg = chartOf({
  title: 'A plot',
  x: { label: 'x' },
  y: { label: 'y' },
  series: [{ name: 's', points: [{ x: 1, y: 2 }] }],
})
const report = (experiment: string, plot = svg): Report => ({
  experiment,
  title: `On <${experiment}>`,
  about: 'About it.',
  command: `npm run lab -- ${experiment}`,
  quick: true,
  findings: ['Found.'],
  tables: [{ id: 'a', title: 'A table', columns: ['x'], rows: [[1.5]] }],
  plots: [{ id: 'p', title: 'A plot', svg: plot }],
})

describe('lab -- report', () => {
  let folder = ''
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'potluck-report-test-'))
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  it('shows everything there is on one page, in the order of the story', async () => {
    await publish(report('swarm'), folder, SILENT)
    await publish(report('compare'), folder, SILENT)
    await writeFile(join(folder, 'other.json'), '{"not":"ours"}')
    const { page, experiments } = await makeReport(['--from', folder], SILENT)
    expect(experiments).toEqual(['compare', 'swarm'])
    const html = await readFile(page, 'utf8')
    expect(html).toContain('On &#60;compare&#62;')
    expect(html).toContain('<code>npm run lab -- swarm</code>')
    expect(html.match(/<svg /g)).toHaveLength(2)
    expect(html.match(/<table>/g)).toHaveLength(2)
    expect(html.match(/The small form/g)).toHaveLength(2)
    // It stands alone.
    expect(html).not.toMatch(/<script|<link|src=/)
  })

  it('leaves out a drawing with something that runs', async () => {
    await publish(
      report('compare', '<svg xmlns="http://www.w3.org/2000/svg" onload="x()"></svg>'),
      folder,
      SILENT,
    )
    const { page } = await makeReport(['--from', folder], SILENT)
    expect(await readFile(page, 'utf8')).not.toContain('onload')
  })

  it('says what to do where there is nothing', async () => {
    await expect(makeReport(['--from', join(folder, 'none')], SILENT)).rejects.toMatchObject({
      code: 'not-found',
    })
  })
})
