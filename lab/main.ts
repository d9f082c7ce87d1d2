/**
 * `npm run lab -- <experiment> [flags] [--json]`: experiments that run the code of production. Benchmarks of its speed
 * are in bench/. With --json the last line is one JSON object.
 */
import { PotluckError } from '../shared/protocol/errors.ts'
import { measureCodecs } from './codecs/experiment.ts'

/** Each prints what it has found and returns it. */
const EXPERIMENTS: Record<string, (flags: string[]) => Promise<object>> = {
  codecs: measureCodecs,
}

const [name = '', ...flags] = process.argv.slice(2)
const run = EXPERIMENTS[name]
if (run === undefined) {
  console.error(`There is no experiment "${name}". Experiments: ${Object.keys(EXPERIMENTS).join(', ')}.`)
  process.exit(1)
}
try {
  const report = await run(flags.filter((flag) => flag !== '--json'))
  if (flags.includes('--json')) console.log(JSON.stringify(report))
} catch (error) {
  console.error(error instanceof PotluckError ? `${error.message} (${error.code})` : error)
  process.exit(1)
}
