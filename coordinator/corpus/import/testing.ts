/** Imports for tests, and what came of them. */
import { join } from 'node:path'
import { decodeShard } from '../../../shared/corpus/shard.ts'
import { tokenizerFromJSON } from '../../../shared/tokenizer/json.ts'
import type { BlobStore } from '../../store/blobs.ts'
import { openFileBlobStore } from '../../store/fileBlobs.ts'
import { indexFromBytes, type TokenShard } from '../corpusIndex.ts'
import { bringing } from './find.ts'
import { type Imported, type ImportParts, type ImportRequest, importCorpus } from './importCorpus.ts'
import { localParts } from './local.ts'
import { SILENT } from './progress.ts'

export const BYTES_ONLY: ImportRequest = {
  ...{ name: 'Menus', licence: 'CC0-1.0', vocabSize: 257, seed: 'x', tokenizer: null, identity: 'menus' },
  read: { separator: '--', field: 'text', tokens: null },
}

export interface TestImport extends Partial<Pick<ImportParts, 'saved' | 'stateEvery' | 'buckets'>> {
  readonly data: string
  readonly file: string
  readonly request?: Partial<ImportRequest>
}

export async function importFile({ data, file, request, ...ports }: TestImport): Promise<Imported> {
  const blobs = await openFileBlobStore(join(data, 'blobs'))
  const parts = { blobs, folder: join(data, 'corpora'), progress: SILENT, bring: bringing(SILENT), ...ports }
  return importCorpus({ ...BYTES_ONLY, ...request }, parts, async () => ({
    parts: await localParts(file),
    licence: '',
  }))
}

/** The documents of an index, in the order of its tokens. */
export async function documentsOf(blobs: BlobStore, hash: string) {
  const index = indexFromBytes(await blobs.get(hash))
  const tokenizer = tokenizerFromJSON(await blobs.get(index.tokenizer))
  const part = async (shards: readonly TokenShard[]) => {
    const ids: number[] = []
    for (const { hash: shard, tokens } of shards) {
      const decoded = decodeShard(await blobs.get(shard), {
        vocabSize: index.vocabSize,
        sequenceLength: 0,
        sequences: tokens,
      })
      for (const id of decoded) ids.push(id)
    }
    const documents: string[] = []
    let start = 0
    for (
      let end = ids.indexOf(tokenizer.endOfText);
      end >= 0;
      end = ids.indexOf(tokenizer.endOfText, start)
    ) {
      documents.push(tokenizer.decode(ids.slice(start, end)))
      start = end + 1
    }
    return documents
  }
  return { index, tokenizer, training: await part(index.training), validation: await part(index.validation) }
}
