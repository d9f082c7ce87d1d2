/** `npm run bench -- <suite> [--json]`: measures; tests assert. With --json the last line is one JSON object. */
import { measureTab } from './tab.ts'

const SUITES: Record<string, () => Promise<object[]>> = { tab: measureTab }

const [suite = '', ...flags] = process.argv.slice(2)
const measure = SUITES[suite]
if (measure === undefined) {
  console.error(`There is no suite "${suite}". Suites: ${Object.keys(SUITES).join(', ')}.`)
  process.exit(1)
}
const rows = await measure()
console.table(rows)
if (flags.includes('--json')) console.log(JSON.stringify({ rows }))
process.exit(0)
