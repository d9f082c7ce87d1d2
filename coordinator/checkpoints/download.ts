/** What is taken away of a checkpoint: the public weights as safetensors, put together while they are sent, and beside them JSON. */
import { type FileHandle, open } from 'node:fs/promises'
import { Readable } from 'node:stream'
import type { ModelConfig } from '../../shared/model/config.ts'
import { parameterCount } from '../../shared/model/layout.ts'
import { safetensorsHeader } from '../../shared/model/safetensors.ts'
import { piecesOf } from '../aggregate/regroup.ts'
import type { BlobStore } from '../store/blobs.ts'

export interface Download {
  readonly name: string
  readonly type: string
  readonly bytes: number
  readonly body: Readable | Uint8Array
}

export interface Downloadable {
  readonly model: ModelConfig
  readonly run: string
  readonly round: number
  /** Of the fragments' weights. */
  readonly hashes: readonly string[]
}

/** Open files outlive their deletion, so nothing that happens later spoils it. @throws PotluckError `not-found`, `bad-blob` */
export async function openWeights(
  blobs: BlobStore,
  { model, run, round, hashes }: Downloadable,
): Promise<Download> {
  for (const hash of hashes) await blobs.verify(hash) // a damaged file is refused, not handed out
  const header = safetensorsHeader(model, { run, round: String(round), sha256: hashes.join(' ') })
  const files: FileHandle[] = []
  const close = async () => {
    for (const file of files) await file.close()
  }
  try {
    for (const hash of hashes) files.push(await open(blobs.path(hash)))
  } catch (error) {
    await close()
    throw error
  }
  const body = Readable.from(wholeOf(header, model, files))
  body.once('close', () => void close().catch(() => undefined)) // they were only read
  return {
    name: `potluck-round-${round}.safetensors`,
    type: 'application/octet-stream',
    bytes: header.length + 4 * parameterCount(model),
    body,
  }
}

async function* wholeOf(header: Uint8Array, model: ModelConfig, files: readonly FileHandle[]) {
  yield header
  for (const { index, start, size } of piecesOf(model, files.length)) {
    const part = { start: 4 * start, end: 4 * (start + size) - 1, autoClose: false }
    yield* (files[index] as FileHandle).createReadStream(part) // one a fragment
  }
}

export function jsonDownload(name: string, content: unknown): Download {
  const body = new TextEncoder().encode(`${JSON.stringify(content, null, 2)}\n`)
  return { name, type: 'application/json', bytes: body.length, body }
}
