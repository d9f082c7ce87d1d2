/** `npm run bench -- <suite> [flags] [--json]`: measures; tests assert. With --json the last line is one JSON object. */
import { measureAggregate } from './aggregate.ts'
import { measureCodecs } from './codecs.ts'
import { measureMatmul } from './engine/matmul.ts'
import { printPlan } from './engine/plan.ts'
import { profileEngine } from './engine/profile.ts'
import { measureEngines } from './engine/suite.ts'
import { measureMesh } from './mesh.ts'
import { measureNetwork } from './network.ts'
import { measureTab } from './tab.ts'
import { measureTokenizer } from './tokenizer.ts'
import { measureUploads } from './uploads.ts'

/** What a suite has measured: a table, and what else there is to say of it. */
type Report = { rows: object[]; ratios?: object[]; [more: string]: unknown }

const SUITES: Record<string, (flags: string[]) => Promise<Report>> = {
  tab: async () => ({ rows: await measureTab() }),
  engine: measureEngines,
  profile: profileEngine,
  plan: printPlan,
  matmul: measureMatmul,
  aggregate: measureAggregate,
  codecs: measureCodecs,
  network: measureNetwork,
  mesh: measureMesh,
  tokenizer: measureTokenizer,
  uploads: measureUploads,
}

const [suite = '', ...flags] = process.argv.slice(2)
const measure = SUITES[suite]
if (measure === undefined) {
  console.error(`There is no suite "${suite}". Suites: ${Object.keys(SUITES).join(', ')}.`)
  process.exit(1)
}
const report = await measure(flags.filter((flag) => flag !== '--json'))
const { rows, ...rest } = report
console.table(rows)
for (const [name, value] of Object.entries(rest)) {
  console.log(`${name}:`)
  console.table(value)
}
if (flags.includes('--json')) console.log(JSON.stringify(report))
process.exit(0)
