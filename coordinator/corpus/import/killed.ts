/** A process of the tests that imports a file and is killed at the n-th state it has saved. argv: folder, file, n. */
import { importFile } from './testing.ts'

const [data = '', file = '', states = '0'] = process.argv.slice(2)
let left = Number(states)
const saved = () => {
  left -= 1
  if (left === 0) process.kill(process.pid, 'SIGKILL')
}
await importFile({ data, file, saved, stateEvery: 200_000, buckets: 3 })
