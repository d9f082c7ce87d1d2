/** What the thread that prepare.ts starts does: builds the embedded corpus into the blob store and reports once. */
import { parentPort, workerData } from 'node:worker_threads'
import { PotluckError } from '../../shared/protocol/errors.ts'
import { openFileBlobStore } from '../store/fileBlobs.ts'
import { buildCorpus } from './build.ts'
import type { CorpusRequest, WorkerReport } from './prepare.ts'
import { readStateOfTheUnion, SOTU_LICENCE, SOTU_NAME } from './sotu.ts'

async function prepare(request: CorpusRequest): Promise<WorkerReport> {
  try {
    const { blobDirectory, ...sizes } = request
    const blobs = await openFileBlobStore(blobDirectory)
    const source = {
      name: SOTU_NAME,
      licence: SOTU_LICENCE,
      documents: await readStateOfTheUnion(),
      ...sizes,
    }
    const { manifestHash } = await buildCorpus(source, (bytes) => blobs.put(bytes))
    return { result: 'prepared', manifestHash }
  } catch (error) {
    if (error instanceof PotluckError) return { result: 'failed', code: error.code, message: error.message }
    return {
      result: 'failed',
      code: 'internal',
      message: `The corpus could not be prepared: ${String(error)}`,
    }
  }
}

// Only prepare.ts starts this thread, and it hands over a CorpusRequest.
parentPort?.postMessage(await prepare(workerData as CorpusRequest))
