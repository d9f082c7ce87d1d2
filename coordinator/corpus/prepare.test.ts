import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { manifestFromBytes } from '../../shared/corpus/manifest.ts'
import { openFileBlobStore } from '../store/fileBlobs.ts'
import { prepareCorpus, readReport } from './prepare.ts'

const folders: string[] = []
async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'potluck-corpus-'))
  folders.push(path)
  return path
}
afterEach(async () => {
  for (const path of folders.splice(0)) await rm(path, { recursive: true })
})

const sizes = { vocabSize: 300, sequenceLength: 64, seed: 'x' }

describe('the thread', () => {
  test('leaves a manifest and every blob it names in the store', async () => {
    const blobDirectory = await folder()
    const { manifestHash } = await prepareCorpus({ blobDirectory, ...sizes })
    const blobs = await openFileBlobStore(blobDirectory)
    const manifest = manifestFromBytes(await blobs.get(manifestHash))
    expect(manifest).toMatchObject({ vocabSize: 300, sequenceLength: 64 })
    const named = [
      manifest.tokenizer,
      ...[...manifest.training, ...manifest.validation].map(({ hash }) => hash),
    ]
    expect(await Promise.all(named.map((hash) => blobs.has(hash)))).toEqual(named.map(() => true))
  }, 60_000)

  test('hands its error over with the code', async () => {
    const failing = prepareCorpus({ blobDirectory: await folder(), ...sizes, vocabSize: 100 })
    await expect(failing).rejects.toMatchObject({ name: 'PotluckError', code: 'bad-config' })
  }, 60_000)

  test('calls a failure that nobody foresaw internal, and tells it', async () => {
    const file = join(await folder(), 'a file')
    await writeFile(file, '')
    const failing = prepareCorpus({ blobDirectory: file, ...sizes })
    await expect(failing).rejects.toMatchObject({
      code: 'internal',
      message: expect.stringContaining('ENOTDIR'),
    })
  }, 60_000)

  test('ends when it is told to', async () => {
    const blobDirectory = await folder()
    const failing = prepareCorpus({ blobDirectory, ...sizes }, AbortSignal.timeout(100))
    await expect(failing).rejects.toMatchObject({ name: 'TimeoutError' })
  }, 60_000)
})

describe('its report', () => {
  test('names the manifest, or the error', () => {
    const manifestHash = 'ab'.repeat(32)
    expect(readReport({ result: 'prepared', manifestHash })).toEqual({ manifestHash })
    const failed = { result: 'failed', code: 'bad-corpus', message: 'The corpus has no documents.' }
    expect(() => readReport(failed)).toThrow(
      expect.objectContaining({ code: 'bad-corpus', message: failed.message }),
    )
  })

  test.each([
    undefined,
    {},
    { result: 'prepared', manifestHash: 'x' },
    { result: 'failed', code: 'no', message: '' },
  ])('is internal when it makes no sense: %o', (report) => {
    expect(() => readReport(report)).toThrow(expect.objectContaining({ code: 'internal' }))
  })
})
