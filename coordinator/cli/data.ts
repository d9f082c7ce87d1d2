/** The data folder as a command opens it: the stores that a coordinator has, and no lock, for SQLite shares its file. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { BlobStore } from '../store/blobs.ts'
import { openFileBlobStore } from '../store/fileBlobs.ts'
import type { MetadataStore } from '../store/metadata.ts'
import { openSqliteStore } from '../store/sqlite.ts'

export interface DataFolder {
  readonly folder: string
  readonly store: MetadataStore
  /** Public. */
  readonly blobs: BlobStore
  readonly blobDirectory: string
}

/** Opens the folder, made when missing, for as long as `use` takes. @throws PotluckError `bad-state` */
export async function withData<T>(folder: string, use: (data: DataFolder) => Promise<T>): Promise<T> {
  await mkdir(folder, { recursive: true })
  const store = await openSqliteStore(join(folder, 'potluck.sqlite'))
  try {
    const blobDirectory = join(folder, 'blobs')
    return await use({ folder, store, blobs: await openFileBlobStore(blobDirectory), blobDirectory })
  } finally {
    await store.close()
  }
}
