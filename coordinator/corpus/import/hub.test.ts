import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openFileBlobStore } from '../../store/fileBlobs.ts'
import { download } from './download.ts'
import { bringing, findParts } from './find.ts'
import { choose } from './hub.ts'
import { importCorpus } from './importCorpus.ts'
import { SILENT } from './progress.ts'
import { BYTES_ONLY, documentsOf } from './testing.ts'

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
const shard = (name: string, count: number) =>
  gzipSync(
    Array.from({ length: count }, (_, i) => JSON.stringify({ text: `${name} ${i}`, url: 'x' })).join('\n'),
  )
const REVISION = 'a'.repeat(40)
const NO_LIMITS = { training: 9, validation: 9 }

/** A hub on loopback: API, redirects to another path as a CDN, ranges, hashes, and faults on demand. */
class Hub {
  readonly files: Record<string, Uint8Array> = {
    'en/c4-train.00000-of-00002.json.gz': shard('first', 40),
    'en/c4-train.00001-of-00002.json.gz': shard('second', 40),
    'en/c4-validation.00000-of-00001.json.gz': shard('held', 12),
    'nl/c4-train.json.gz': shard('niet', 5),
    'README.md': Buffer.from('# C4'),
  }
  card: unknown = { license: 'odc-by', configs: [] }
  readonly asked: { path: string; range: string | undefined }[] = []
  /** Answers that are given first. */
  readonly faults: ((response: ServerResponse) => void)[] = []
  /** Bytes after which the next downloads break off. */
  readonly cuts: number[] = []
  readonly server = createServer((request, response) => this.#answer(request, response))
  url = ''

  #answer(request: IncomingMessage, response: ServerResponse): unknown {
    const path = decodeURIComponent(new URL(request.url ?? '/', this.url).pathname)
    this.asked.push({ path, range: request.headers.range })
    const fault = this.faults.shift()
    if (fault) return fault(response)
    const api = '/api/datasets/allenai/c4'
    if (path === `${api}/revision/main`) return json(response, { sha: REVISION, cardData: this.card })
    if (path === `${api}/tree/${REVISION}`) return this.#tree(request, response)
    const resolve = `/datasets/allenai/c4/resolve/${REVISION}/`
    const bytes = this.files[path.replace(resolve, '').replace('/cdn/', '')]
    if (bytes === undefined) return void response.writeHead(404).end()
    if (path.startsWith(resolve)) {
      const linked = { 'x-linked-etag': `"${sha256(bytes)}"`, 'x-linked-size': bytes.length }
      return void response
        .writeHead(302, { location: `/cdn/${path.replace(resolve, '')}?signed`, ...linked })
        .end()
    }
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0)
    const part = bytes.subarray(from)
    const range = { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` }
    response.writeHead(from > 0 ? 206 : 200, {
      'content-length': part.length,
      ...(from > 0 && range),
      etag: '"cdn"',
    })
    const cut = this.cuts.shift()
    if (cut === undefined) return void response.end(part)
    response.write(part.subarray(0, cut), () => setTimeout(() => response.destroy(), 20))
  }

  /** Two a page. */
  #tree(request: IncomingMessage, response: ServerResponse): void {
    const page = Number(new URL(request.url ?? '/', this.url).searchParams.get('cursor') ?? 0)
    const names = Object.keys(this.files).slice(2 * page, 2 * page + 2)
    if (2 * page + 2 < Object.keys(this.files).length)
      response.setHeader(
        'link',
        `<${this.url}${request.url?.split('?')[0]}?recursive=true&cursor=${page + 1}>; rel="next"`,
      )
    json(
      response,
      names.map((path) => {
        const bytes = this.files[path] ?? new Uint8Array(0)
        const lfs = path.endsWith('.gz')
          ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 134 } }
          : {}
        return { type: 'file', oid: 'b'.repeat(40), path, size: bytes.length, ...lfs }
      }),
    )
  }
}

function json(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value))
}

let hub: Hub
let folder: string
const slept: number[] = []
const manners = { sleep: async (ms: number) => slept.push(ms) }

beforeEach(async () => {
  hub = new Hub()
  hub.server.listen(0, '127.0.0.1')
  await once(hub.server, 'listening')
  hub.url = `http://127.0.0.1:${(hub.server.address() as AddressInfo).port}` // it listens on TCP
  folder = await mkdtemp(join(tmpdir(), 'potluck-hub-'))
  slept.length = 0
})
afterEach(async () => {
  hub.server.closeAllConnections()
  hub.server.close()
  await rm(folder, { recursive: true })
})

describe('a data set on a hub', () => {
  test('C4 is its English train shards and its own validation shards, pinned, with size and hash', async () => {
    const { parts, licence } = await findParts('c4', hub.url, NO_LIMITS, manners)
    expect(licence).toBe('odc-by')
    expect(parts.map(({ name, split }) => [name, split])).toEqual([
      ['en/c4-train.00000-of-00002.json.gz', 'training'],
      ['en/c4-train.00001-of-00002.json.gz', 'training'],
      ['en/c4-validation.00000-of-00001.json.gz', 'validation'],
    ])
    const [first] = parts
    const bytes = hub.files[first?.name ?? ''] ?? new Uint8Array(0)
    expect(first).toMatchObject({ size: bytes.length, sha256: sha256(bytes) })
    expect(first?.from).toEqual({
      url: `${hub.url}/datasets/allenai/c4/resolve/${REVISION}/en/c4-train.00000-of-00002.json.gz`,
    })
    const few = await findParts('c4', hub.url, { training: 1, validation: 0 }, manners)
    expect(few.parts.length).toBe(1)
  })

  test('is imported whole, its validation as it was published', async () => {
    const blobs = await openFileBlobStore(join(folder, 'blobs'))
    hub.faults.push((response) => void response.writeHead(429, { ratelimit: '"api";r=0;t=17' }).end())
    hub.cuts.push(100, 50)
    const { index } = await importCorpus(
      { ...BYTES_ONLY, licence: '' },
      { blobs, folder: join(folder, 'corpora'), progress: SILENT, bring: bringing(SILENT, manners) },
      () => findParts('c4', hub.url, NO_LIMITS, manners),
    )
    const { training, validation, index: made } = await documentsOf(blobs, index)
    expect(made.licence).toBe('odc-by')
    expect(validation).toEqual(Array.from({ length: 12 }, (_, i) => `held ${i}`))
    expect(training.toSorted()).toEqual(
      ['first', 'second'].flatMap((name) => Array.from({ length: 40 }, (_, i) => `${name} ${i}`)).toSorted(),
    )
    expect(slept[0]).toBe(18_000)
    expect(hub.asked.some(({ range }) => /^bytes=[1-9]/.test(range ?? ''))).toBe(true)
  })

  test('has the files that its card lists for a config', () => {
    const file = (path: string) => ({ type: 'file', path, size: 1 })
    const tree = [
      'data/train-00.parquet',
      'data/test-00.parquet',
      'data/valid-00.parquet',
      'b/x.jsonl',
      'a.md',
    ].map(file)
    const configs = [
      {
        config_name: 'one',
        data_files: [
          { split: 'train', path: ['data/train-*', 'b/**'] },
          { split: 'validation', path: ['data/{valid,dev}-[0-9]*'] },
        ],
      },
      { config_name: 'two', data_files: [{ split: 'train', path: ['b/*.jsonl'] }] },
    ]
    const names = (config: string | null, cards = configs) =>
      choose(tree, config, cards).map(({ split, file: { path } }) => `${split} ${path}`)
    expect(names('one')).toEqual([
      'training b/x.jsonl',
      'training data/train-00.parquet',
      'validation data/valid-00.parquet',
    ])
    expect(names('two')).toEqual(['training b/x.jsonl'])
    expect(names(null, [])).toEqual([
      'training b/x.jsonl',
      'training data/train-00.parquet',
      'validation data/valid-00.parquet',
    ])
    expect(names('three')).toEqual([])
  })

  test.each([
    ['hf:no/such', 'There is nothing public at'],
    ['hf:a b', 'write hf:owner/name'],
    ['hf:allenai/c4:fr', 'has no files to train on that can be read in its config fr'],
  ])('%s is refused', async (source, message) => {
    await expect(findParts(source, hub.url, NO_LIMITS, manners)).rejects.toThrow(message)
  })

  test('that answers nonsense is refused with the address', async () => {
    hub.faults.push((response) => json(response, { sha: 5 }))
    await expect(findParts('c4', hub.url, NO_LIMITS, manners)).rejects.toThrow(
      `${hub.url}/api/datasets/allenai/c4`,
    )
    hub.faults.push((response) => void response.end('<html>'))
    await expect(findParts('c4', hub.url, NO_LIMITS, manners)).rejects.toThrow('not JSON')
  })
})

describe('a download', () => {
  const name = 'en/c4-train.00000-of-00002.json.gz'
  const request = (change = {}) => ({
    ...{
      url: `${hub.url}/datasets/allenai/c4/resolve/${REVISION}/${name}`,
      path: join(folder, 'file'),
      sha256: null,
    },
    ...{ onBytes: () => undefined, manners, ...change },
  })

  test('goes on from the bytes that an earlier process left, and checks the whole', async () => {
    const bytes = hub.files[name] ?? new Uint8Array(0)
    await writeFile(join(folder, 'file.partial'), bytes.subarray(0, 70))
    await download(request())
    expect(hub.asked.map(({ range }) => range)).toEqual(['bytes=70-', 'bytes=70-'])
    expect(new Uint8Array(await readFile(join(folder, 'file')))).toEqual(new Uint8Array(bytes))
    const asked = hub.asked.length
    await download(request())
    expect(hub.asked.length).toBe(asked)
  })

  test('that is not what the hub says it is is dropped', async () => {
    await writeFile(join(folder, 'file.partial'), Buffer.alloc(70, 1))
    await expect(download(request())).rejects.toThrow('is damaged: its SHA-256 is')
    await download(request())
    await expect(download(request({ path: join(folder, 'other'), sha256: '0'.repeat(64) }))).rejects.toThrow(
      'damaged',
    )
  })

  test('waits as long as it is told, and tries again where a server fails', async () => {
    hub.faults.push(
      (response) => void response.writeHead(429, { ratelimit: '"resolvers";r=0;t=120' }).end(),
      (response) => void response.writeHead(429, { 'retry-after': '7' }).end(),
      (response) => void response.writeHead(503).end(),
      (response) => response.destroy(),
    )
    await download(request())
    expect(slept).toEqual([121_000, 8_000, 4_000, 8_000])
  })

  test('that never comes, goes round in circles or leads elsewhere is refused', async () => {
    hub.faults.push(
      ...Array.from({ length: 8 }, () => (response: ServerResponse) => void response.writeHead(500).end()),
    )
    await expect(download(request())).rejects.toThrow('does not come: it answered 500')
    hub.faults.push(
      ...Array.from(
        { length: 6 },
        () => (r: ServerResponse) => void r.writeHead(302, { location: '/' }).end(),
      ),
    )
    await expect(download(request())).rejects.toThrow('redirects more than 5 times')
    hub.faults.push((response) => void response.writeHead(302, { location: 'file:///etc/passwd' }).end())
    await expect(download(request())).rejects.toThrow('which is no address')
  })
})
