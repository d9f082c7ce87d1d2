/**
 * A flat folder of files that outlives the page: the interface, and the browser's origin-private file system (OPFS)
 * behind it. It knows no blobs and no replicas; blobStore.ts and replica.ts do.
 *
 * Writing uses `createWritable`, which Chromium, Firefox and Safari 26 have on the page and in Workers alike. It
 * writes beside the file and swaps on close, so a file is whole or as it was. Older Safari has only the sync access
 * handles of Workers, which write in place and lock out other tabs; there the folder is not usable, and callers go on
 * in memory. To delete that case: Safari 26 everywhere. The path is walked at each call, because handles die when
 * the person clears the site's data while the page is open.
 */

export interface Entry {
  readonly name: string
  readonly bytes: number
  /** Milliseconds since 1970. */
  readonly modified: number
}

export interface Folder {
  /** Whether files can be kept here at all. Never rejects. */
  usable(): Promise<boolean>
  /** The file, to be read lazily; null when there is none. Reading fails when it is replaced meanwhile. */
  open(name: string): Promise<Blob | null>
  /** All or nothing. @throws Error, named `QuotaExceededError` when the disk or the origin's share is full. */
  write(name: string, pieces: readonly Uint8Array<ArrayBuffer>[]): Promise<void>
  /** No error when there is none. */
  remove(name: string): Promise<void>
  list(): Promise<Entry[]>
}

/** The page stands still while the browser copies what it is handed. */
const BYTES_A_WRITE = 4 * 1024 ** 2

/** `potluck/<name>` in OPFS. */
export function originFolder(name: string): Folder {
  async function directory(): Promise<FileSystemDirectoryHandle> {
    const root = await navigator.storage.getDirectory()
    const potluck = await root.getDirectoryHandle('potluck', { create: true })
    return potluck.getDirectoryHandle(name, { create: true })
  }

  async function discard(writable: FileSystemWritableFileStream, file: string): Promise<void> {
    await writable.abort().catch(() => undefined) // closed already
    const left = await openIn(await directory(), file)
    if (left?.size === 0) await (await directory()).removeEntry(file) // made for this write
  }

  return {
    async usable() {
      if (!mayWrite()) return false
      return directory().then(
        () => true,
        () => false, // private windows refuse
      )
    },

    open: async (file) => openIn(await directory(), file),

    async write(file, pieces) {
      if (!mayWrite()) throw new Error('This browser keeps no files for the page.')
      const handle = await (await directory()).getFileHandle(file, { create: true })
      const writable = await handle.createWritable()
      try {
        for (const piece of pieces) {
          for (let at = 0; at < piece.length; at += BYTES_A_WRITE) {
            await writable.write(piece.subarray(at, at + BYTES_A_WRITE))
          }
        }
        await writable.close()
      } catch (error) {
        await discard(writable, file).catch(() => undefined) // the first error says more
        throw error
      }
    },

    async remove(file) {
      await (await directory()).removeEntry(file).catch(unlessMissing)
    },

    async list() {
      const entries: Entry[] = []
      for await (const handle of (await directory()).values()) {
        // Another tab may remove a file between its listing and its opening.
        const file = isFile(handle) ? await handle.getFile().catch(unlessMissing) : undefined
        if (file) entries.push({ name: handle.name, bytes: file.size, modified: file.lastModified })
      }
      return entries
    },
  }
}

/** Not in Node, on plain http, and in Safari before 26. */
function mayWrite(): boolean {
  return (
    typeof navigator !== 'undefined' &&
    typeof navigator.storage?.getDirectory === 'function' &&
    typeof FileSystemFileHandle !== 'undefined' &&
    'createWritable' in FileSystemFileHandle.prototype
  )
}

async function openIn(directory: FileSystemDirectoryHandle, file: string): Promise<File | null> {
  const handle = await directory.getFileHandle(file).catch(unlessMissing)
  return (await handle?.getFile()) ?? null
}

const isFile = (handle: FileSystemHandle): handle is FileSystemFileHandle => handle.kind === 'file'

function unlessMissing(error: unknown): undefined {
  if (!isNamed(error, 'NotFoundError')) throw error
}

/** Newer browsers throw a QuotaExceededError of its own class, older ones a DOMException of that name. */
export function isNamed(error: unknown, name: 'NotFoundError' | 'QuotaExceededError'): boolean {
  return error instanceof Error && error.name === name
}
