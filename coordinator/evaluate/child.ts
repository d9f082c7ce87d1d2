/**
 * The evaluation process from inside: hears a job, does it, answers. It ends when the coordinator is gone, and when it
 * holds more memory than it was allowed. argv: bytes it may hold.
 */
import { PotluckError } from '../../shared/protocol/errors.ts'
import type { ChildMessage } from './process.ts'
import { type Job, work } from './work.ts'

const mostBytes = Number(process.argv[2])
/** A coordinator that is gone hears nothing; `disconnect` ends this process then. */
const tell = (message: ChildMessage) => process.send?.(message, undefined, undefined, () => undefined)

/** @throws PotluckError `too-large` */
function beat(): void {
  const held = process.memoryUsage.rss()
  if (held > mostBytes) {
    const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`
    throw new PotluckError('too-large', `The evaluation holds ${gib(held)}; ${gib(mostBytes)} are allowed.`)
  }
  tell({ type: 'beat' })
}

process.on('message', (job: Job) => {
  work(job, beat).then(
    (result) => tell({ type: 'done', result }),
    (error: unknown) => {
      const code = error instanceof PotluckError ? error.code : 'internal'
      tell({ type: 'failed', code, message: error instanceof Error ? error.message : String(error) })
    },
  )
})
process.on('disconnect', () => process.exit())
