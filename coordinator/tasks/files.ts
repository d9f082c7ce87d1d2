/** A file of examples from a path or a URL, unpacked, as text. What stands in it is shared/evaluate/read.ts's. */
import { open } from 'node:fs/promises'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import type { ExampleFile } from '../../shared/evaluate/read.ts'
import { PotluckError } from '../../shared/protocol/errors.ts'
import { LIMITS } from '../../shared/protocol/limits.ts'

const MOST = LIMITS.tasks.bytes
/** For a whole file; a server that trickles does not hold the command for ever. */
const DOWNLOAD_MS = 10 * 60_000

/** @throws PotluckError `bad-task`, `too-large`, `not-found`, in words that name the file. */
export async function readExampleFile(name: string, most = MOST): Promise<ExampleFile> {
  const bytes = /^https?:\/\//i.test(name) ? await download(name, most) : await readFile(name, most)
  const unpacked = bytes[0] === 0x1f && bytes[1] === 0x8b ? await unpack(name, bytes, most) : bytes
  try {
    return { name, text: new TextDecoder('utf-8', { fatal: true }).decode(unpacked) }
  } catch {
    throw new PotluckError('bad-task', `${name} is no UTF-8 text.`)
  }
}

async function readFile(name: string, most: number): Promise<Uint8Array> {
  const file = await open(name).catch((error: NodeJS.ErrnoException) => {
    throw new PotluckError('not-found', `${name} cannot be read: ${error.message}.`, 404)
  })
  try {
    const stat = await file.stat()
    if (stat.isFile() && stat.size > most) throw tooLarge(name, most)
    return await file.readFile()
  } catch (error) {
    if (error instanceof PotluckError) throw error
    throw new PotluckError('not-found', `${name} cannot be read: ${String(error)}.`, 404)
  } finally {
    await file.close()
  }
}

async function download(url: string, most: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let length = 0
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(DOWNLOAD_MS) })
    if (!response.ok)
      throw new PotluckError('not-found', `${url} cannot be fetched: it answers ${response.status}.`, 404)
    for await (const chunk of response.body ?? []) {
      length += chunk.length
      if (length > most) throw tooLarge(url, most)
      chunks.push(chunk)
    }
  } catch (error) {
    if (error instanceof PotluckError) throw error
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error)
    throw new PotluckError('not-found', `${url} cannot be fetched: ${cause}.`, 404)
  }
  return Buffer.concat(chunks, length)
}

async function unpack(name: string, bytes: Uint8Array, most: number): Promise<Uint8Array> {
  try {
    return await promisify(gunzip)(bytes, { maxOutputLength: most })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(name, most) // zlib's errors have codes
    throw new PotluckError('bad-task', `${name} is damaged gzip: ${String(error)}.`)
  }
}

const tooLarge = (name: string, most: number) =>
  new PotluckError('too-large', `${name} has more than ${Math.floor(most / 2 ** 20)} MiB.`, 413)
