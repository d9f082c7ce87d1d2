/** Files on this machine as the parts of an import: one file, or all of a folder that some reader reads. */
import { readdir, stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { PotluckError } from '../../../shared/protocol/errors.ts'
import { formatOf } from '../read/read.ts'
import type { Part } from './state.ts'

/** @throws PotluckError `bad-request` when there is nothing to read. */
export async function localParts(path: string): Promise<Part[]> {
  const whole = resolve(path)
  const info = await stat(whole).catch(() => null)
  if (info === null) throw new PotluckError('bad-request', `There is no file ${path}.`)
  if (!info.isDirectory()) return [await partOf(whole)]
  const names = (await readdir(whole)).filter((name) => formatOf(name) !== null).sort()
  if (names.length === 0)
    throw new PotluckError('bad-request', `The folder ${path} has no file that can be read.`)
  return Promise.all(names.map((name) => partOf(join(whole, name))))
}

async function partOf(path: string): Promise<Part> {
  const { size, mtimeMs } = await stat(path)
  const from = { path, modified: mtimeMs }
  return { name: basename(path), split: 'training', size, sha256: null, from }
}
