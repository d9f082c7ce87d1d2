/** Tasks imported from real files and a real server, into a real store. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { BlobStore } from '../store/blobs.ts'
import { openFileBlobStore } from '../store/fileBlobs.ts'
import type { MetadataStore } from '../store/metadata.ts'
import { openSqliteStore } from '../store/sqlite.ts'
import { readExampleFile } from './files.ts'
import { addTask, examplesFromBytes, imported, removeTask } from './tasks.ts'

const ROW = { goal: 'Boil water', sol1: 'Heat it.', sol2: 'Cool it.', label: 1 }
const EXAMPLE = { context: 'Question: Boil water\nAnswer:', choices: ['Heat it.', 'Cool it.'], gold: 1 }
let folder: string
let store: MetadataStore
let examples: BlobStore
let server: Server
let url: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'potluck-tasks-'))
  store = await openSqliteStore(join(folder, 'potluck.sqlite'))
  examples = await openFileBlobStore(join(folder, 'tasks'))
  server = createServer((request, response) => {
    if (request.url === '/valid.jsonl.gz') return response.end(gzipSync(JSON.stringify(ROW)))
    if (request.url === '/moved') return response.writeHead(302, { location: '/valid.jsonl.gz' }).end()
    if (request.url === '/cut') {
      response.writeHead(200, { 'content-length': 100 }).write('{')
      return setTimeout(() => response.destroy(), 20)
    }
    response.writeHead(404).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}` // it listens on TCP
})
afterAll(async () => {
  server.close()
  await store.close()
  rmSync(folder, { recursive: true, force: true })
})

const parts = () => ({ store, examples, now: () => 7 })
const file = (name: string, content: string | Uint8Array) => {
  writeFileSync(join(folder, name), content)
  return join(folder, name)
}

describe('a task', () => {
  it('is imported from a URL, kept by its hash, replaced and removed with its examples', async () => {
    const first = await addTask(parts(), 'piqa', [`${url}/moved`])
    expect(first).toMatchObject({ name: 'piqa', examples: 1, source: `${url}/moved`, at: 7 })
    expect(await store.tasks()).toEqual([first])
    expect(examplesFromBytes(await examples.get(first.data))).toEqual([EXAMPLE])

    const { label: _, ...unlabelled } = ROW
    const rows = file('valid.jsonl', [unlabelled, unlabelled].map((row) => JSON.stringify(row)).join('\n'))
    const second = await addTask(parts(), 'piqa', [rows, file('valid-labels.lst', '1\n0\n')])
    expect(await store.tasks()).toEqual([second])
    expect(second.examples).toBe(2)
    expect(await examples.has(first.data)).toBe(false)
    expect(await imported(store, ['hellaswag', 'piqa'])).toEqual([second])

    await removeTask(parts(), 'piqa')
    expect(await store.tasks()).toEqual([])
    expect(await examples.has(second.data)).toBe(false)
    await expect(removeTask(parts(), 'piqa')).rejects.toMatchObject({ code: 'not-found' })
    await expect(imported(store, ['piqa'])).rejects.toMatchObject({ code: 'bad-task' })
  })

  it('that cannot be read leaves the one before as it was', async () => {
    const before = await addTask(parts(), 'piqa', [file('good.jsonl', JSON.stringify(ROW))])
    const broken = file('broken.jsonl', `${JSON.stringify(ROW)}\n{"goal": 3}`)
    await expect(addTask(parts(), 'piqa', [broken])).rejects.toMatchObject({
      code: 'bad-task',
      message: expect.stringContaining(`${broken}, line 2: goal: `),
    })
    expect(await store.tasks()).toEqual([before])
  })
})

describe('a file', () => {
  it.each([
    ['that is missing', () => join(folder, 'nowhere'), 'not-found', 'nowhere cannot be read'],
    ['that is a folder', () => folder, 'not-found', 'cannot be read'],
    [
      'on a server that has none',
      () => `${url}/none`,
      'not-found',
      '/none cannot be fetched: it answers 404',
    ],
    ['that is cut off', () => `${url}/cut`, 'not-found', '/cut cannot be fetched'],
    ['that is no text', () => file('bytes', Uint8Array.of(0xff, 0xfe)), 'bad-task', 'bytes is no UTF-8 text'],
    [
      'that is damaged',
      () => file('a.gz', gzipSync('text').subarray(0, 15)),
      'bad-task',
      'a.gz is damaged gzip',
    ],
    ['that is too large', () => file('large', 'x'.repeat(2_000)), 'too-large', 'large has more than'],
    [
      'that grows too large',
      () => file('b.gz', gzipSync('x'.repeat(2_000))),
      'too-large',
      'b.gz has more than',
    ],
  ])('%s is refused by name', async (_what, name, code, text) => {
    await expect(readExampleFile(name(), 1_000)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(text),
    })
  })
})
