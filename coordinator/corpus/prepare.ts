/**
 * Makes the embedded corpus's blobs in a thread of its own, so that the coordinator goes on answering. The work itself
 * is build.ts's; thread.js is the thread's first file and worker.ts what it runs.
 */
import { Worker } from 'node:worker_threads'
import { z } from 'zod'
import { ERROR_CODES, PotluckError } from '../../shared/protocol/errors.ts'
import { hashSchema } from '../../shared/protocol/run.ts'

export interface CorpusRequest {
  /** Folder of the blob store, for openFileBlobStore. */
  readonly blobDirectory: string
  readonly vocabSize: number
  readonly sequenceLength: number
  readonly seed: string
}

export interface PreparedCorpus {
  readonly manifestHash: string
}

/** What the thread says, once, at its end. */
export const workerReportSchema = z.discriminatedUnion('result', [
  z.strictObject({ result: z.literal('prepared'), manifestHash: hashSchema }),
  z.strictObject({ result: z.literal('failed'), code: z.enum(ERROR_CODES), message: z.string() }),
])
export type WorkerReport = z.infer<typeof workerReportSchema>

/**
 * Resolves when every blob of the corpus is durable. Doing it again stores nothing new.
 * @param signal ends the thread; the promise then rejects with the signal's reason.
 * @throws PotluckError with the code of what went wrong in the thread; `internal` when the thread itself died.
 */
export function prepareCorpus(request: CorpusRequest, signal?: AbortSignal): Promise<PreparedCorpus> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    const worker = startWorker(request)
    const abort = () => {
      reject(signal?.reason)
      void worker.terminate()
    }
    signal?.addEventListener('abort', abort, { once: true })
    worker.once('message', (message: unknown) => {
      try {
        resolve(readReport(message))
      } catch (error) {
        reject(error)
      }
    })
    worker.once('error', (error: unknown) => {
      reject(died(error instanceof Error ? error.message : String(error)))
    })
    // After a report this rejection is a no-op: a promise settles once.
    worker.once('exit', (code) => {
      signal?.removeEventListener('abort', abort)
      reject(died(`it ended with exit code ${code} and no report`))
    })
  })
}

/** Flags of this process, such as `--import`, stay out of the thread: thread.js loads what it needs. */
function startWorker(request: CorpusRequest): Worker {
  return new Worker(new URL('./thread.js', import.meta.url), { execArgv: [], workerData: request })
}

/** The corpus a report tells of. @throws PotluckError with the code of the failure it tells of instead. */
export function readReport(message: unknown): PreparedCorpus {
  const report = workerReportSchema.safeParse(message)
  if (!report.success) throw died('its report makes no sense')
  if (report.data.result === 'failed') throw new PotluckError(report.data.code, report.data.message)
  return { manifestHash: report.data.manifestHash }
}

function died(how: string): PotluckError {
  return new PotluckError('internal', `The thread that prepares the corpus died: ${how}.`, 500)
}
