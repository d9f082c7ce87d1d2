/**
 * `npm run lab -- <experiment> [flags] [--json]`: experiments that run the code of production. Benchmarks of its speed
 * are in bench/. With --json the last line is one JSON object.
 */
import { PotluckError } from '../shared/protocol/errors.ts'

/** Each prints what it has found and returns it. Loaded when asked for: some bring an engine along. */
const EXPERIMENTS: Record<string, () => Promise<(flags: string[]) => Promise<object>>> = {
  codecs: async () => (await import('./codecs/experiment.ts')).measureCodecs,
  network: async () => (await import('./network/experiment.ts')).modelNetworks,
  swarm: async () => (await import('./swarm/experiment.ts')).measureSwarm,
  compare: async () => (await import('./compare/experiment.ts')).compareMethods,
  batch: async () => (await import('./batch/experiment.ts')).varyBatch,
  'outer-lr': async () => (await import('./outer-lr/experiment.ts')).varyOuterRate,
  h: async () => (await import('./h/experiment.ts')).varyInnerSteps,
  overtrain: async () => (await import('./overtrain/experiment.ts')).overtrain,
  robust: async () => (await import('./robust/experiment.ts')).troubleRuns,
  report: async () => (await import('./report/experiment.ts')).makeReport,
  scaling: async () => (await import('./scaling/experiment.ts')).fitScaling,
}

const [name = '', ...flags] = process.argv.slice(2)
const load = EXPERIMENTS[name]
if (load === undefined) {
  console.error(`There is no experiment "${name}". Experiments: ${Object.keys(EXPERIMENTS).join(', ')}.`)
  process.exit(1)
}
try {
  const run = await load()
  const report = await run(flags.filter((flag) => flag !== '--json'))
  if (flags.includes('--json')) console.log(JSON.stringify(report))
} catch (error) {
  console.error(error instanceof PotluckError ? `${error.message} (${error.code})` : error)
  process.exit(1)
}
