/** What `corpus add` is given, as parts: files here, one file on the web, or a data set on a hub. */
import { rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { PotluckError } from '../../../shared/protocol/errors.ts'
import { formatOf } from '../read/read.ts'
import { download } from './download.ts'
import { C4, dataSetOf, hubParts } from './hub.ts'
import type { ImportParts } from './importCorpus.ts'
import { localParts } from './local.ts'
import { type Manners, PATIENT } from './polite.ts'
import type { Progress } from './progress.ts'
import type { Part } from './state.ts'

/** Files of each kind that are taken, the first ones. */
export type Limits = Readonly<Record<Part['split'], number>>

/** @throws PotluckError `bad-request`, `not-found`, `bad-corpus` */
export async function findParts(
  source: string,
  hub: string,
  limits: Limits,
  manners: Manners = PATIENT,
): Promise<{ readonly parts: readonly Part[]; readonly licence: string }> {
  const { parts, licence } = await allParts(source, hub, manners)
  const firstOf = (split: Part['split']) =>
    parts.filter((part) => part.split === split).slice(0, limits[split])
  const taken = [...firstOf('training'), ...firstOf('validation')]
  if (firstOf('training').length === 0) throw new PotluckError('bad-request', 'There is nothing to train on.')
  return { parts: taken, licence }
}

async function allParts(
  source: string,
  hub: string,
  manners: Manners,
): Promise<{ readonly parts: readonly Part[]; readonly licence: string }> {
  if (source === 'c4') return hubParts(hub, C4, manners)
  if (source.startsWith('hf:')) return hubParts(hub, dataSetOf(source), manners)
  if (!/^https?:\/\//.test(source)) return { parts: await localParts(source), licence: '' }
  const name = basename(new URL(source).pathname)
  if (formatOf(name) === null)
    throw new PotluckError(
      'bad-request',
      `${source} does not end with a name that tells what it is, such as .jsonl.gz.`,
    )
  const part: Part = { name, split: 'training', size: null, sha256: null, from: { url: source } }
  return { parts: [part], licence: '' }
}

/** Brings a part from the web to the folder of the import, and drops it when it was read. */
export function bringing(progress: Progress, manners: Manners = PATIENT): ImportParts['bring'] {
  return async ({ name, from, sha256, size }, folder) => {
    if ('path' in from) return { path: from.path, done: async () => undefined }
    const path = join(folder, `part-${name.replace(/[^\w.-]+/g, '-').slice(-150)}`)
    const onBytes = (received: number, total: number) =>
      progress.show(`downloading ${basename(name)}`, received, size ?? total)
    await download({ url: from.url, path, sha256, onBytes, manners })
    return { path, done: () => rm(path, { force: true }) }
  }
}
