/** Blobs as files, `<directory>/<first two digits>/<hash>`. Survives kill -9: a file appears whole or not at all. */
import { createHash, randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { PotluckError } from '../../shared/protocol/errors.ts'
import type { BlobStore } from './blobs.ts'

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** Makes the folder when it is missing. */
export async function openFileBlobStore(directory: string): Promise<BlobStore> {
  await mkdir(join(directory, 'incoming'), { recursive: true })
  const path = (hash: string) => join(directory, hash.slice(0, 2), hash)

  const has = (hash: string) =>
    stat(path(hash)).then(
      () => true,
      () => false,
    )

  async function put(bytes: Uint8Array): Promise<string> {
    const hash = sha256(bytes)
    if (await has(hash)) return hash
    const temporary = join(directory, 'incoming', randomUUID())
    await writeDurably(temporary, bytes)
    await adopt(temporary, hash)
    return hash
  }

  async function adopt(file: string, hash: string): Promise<void> {
    await mkdir(dirname(path(hash)), { recursive: true })
    await rename(file, path(hash))
    await syncFolder(dirname(path(hash)))
  }

  async function get(hash: string): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = await readFile(path(hash)).catch(() => {
      throw missing(hash)
    })
    if (sha256(bytes) !== hash) throw damaged(hash)
    return bytes.length === bytes.buffer.byteLength ? new Uint8Array(bytes.buffer) : new Uint8Array(bytes) // no copy of a model
  }

  async function verify(hash: string): Promise<void> {
    if (!(await has(hash))) throw missing(hash)
    const hasher = createHash('sha256')
    for await (const chunk of createReadStream(path(hash))) hasher.update(chunk as Buffer) // it has no encoding
    if (hasher.digest('hex') !== hash) throw damaged(hash)
  }

  return { put, adopt, has, get, verify, path, delete: (hash) => rm(path(hash), { force: true }) }
}

const missing = (hash: string) => new PotluckError('not-found', `There is no blob ${hash}.`, 404)
const damaged = (hash: string) =>
  new PotluckError(
    'bad-blob',
    `The blob ${hash} is damaged on disk: its bytes no longer match its name. Restore it from a backup.`,
    500,
  )

/** Half-written files of a process that was killed; call before anything writes. Parts stay: partials.ts knows whose. */
export async function clearIncoming(directory: string): Promise<void> {
  const folder = join(directory, 'incoming')
  for (const name of await readdir(folder).catch(() => [])) {
    if (!name.endsWith('.part')) await rm(join(folder, name), { force: true })
  }
}

async function writeDurably(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'wx')
  try {
    await file.writeFile(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** A rename is durable only when the folder is. Windows cannot open folders; there the rename itself must do. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r').catch(() => null)
  await folder?.sync().catch(() => undefined)
  await folder?.close()
}
