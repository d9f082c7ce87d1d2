/** Files as readers see them, with what was read counted, and gzip taken away. */
import { createReadStream } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { basename } from 'node:path'
import { Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { PotluckError } from '../../../shared/protocol/errors.ts'
import { ReaderError, type Source } from './item.ts'

const CHUNK = 256 * 1024

/** @throws PotluckError `bad-request` when there is no such file. */
export async function fileSource(
  path: string,
  onRead: (bytes: number) => void = () => undefined,
  name = basename(path),
): Promise<Source> {
  const info = await stat(path).catch(() => null)
  if (!info?.isFile()) throw new PotluckError('bad-request', `There is no file ${path}.`)
  return {
    name,
    size: info.size,
    async *stream() {
      for await (const chunk of createReadStream(path, { highWaterMark: CHUNK })) {
        onRead((chunk as Buffer).length) // it has no encoding
        yield chunk as Buffer
      }
    },
    async slice(start, end = info.size) {
      const file = await open(path)
      try {
        const bytes = await readWhole(file, start, Math.max(0, Math.min(end, info.size) - start))
        onRead(bytes.byteLength)
        return bytes
      } finally {
        await file.close()
      }
    },
  }
}

async function readWhole(file: FileHandle, start: number, length: number): Promise<ArrayBuffer> {
  const bytes = new Uint8Array(length)
  for (let at = 0; at < length; ) {
    const { bytesRead } = await file.read(bytes, at, length - at, start + at)
    if (bytesRead === 0) break
    at += bytesRead
  }
  return bytes.buffer
}

/** @throws ReaderError when the bytes are no gzip, or end too soon. */
export async function* unzipped({ name, stream }: Source): AsyncGenerator<Uint8Array> {
  let read = 0
  const counted = async function* () {
    for await (const chunk of stream()) {
      read += chunk.length
      yield chunk
    }
  }
  const packed = Readable.from(counted(), { objectMode: false })
  const gunzip = createGunzip({ chunkSize: CHUNK })
  let failure: unknown = null
  packed.on('error', (error) => {
    failure = error
    gunzip.destroy(error)
  })
  try {
    for await (const chunk of packed.pipe(gunzip)) yield chunk as Buffer // no encoding
  } catch (error) {
    if (failure !== null) throw failure
    const why = error instanceof Error ? error.message : String(error)
    throw new ReaderError(
      name,
      `about byte ${read} of the compressed file`,
      `it is no whole gzip file: ${why}`,
    )
  } finally {
    packed.destroy()
    gunzip.destroy()
  }
}
