/** Who a tab is: a random name, and a secret that the browser keeps and we know only by its hash. */
import { randomInt } from 'node:crypto'
import type { MetadataStore, VolunteerRecord } from '../store/metadata.ts'
import { hashSecret, newId, newSecret } from './secrets.ts'

const COLOURS =
  'amber azure coral crimson golden indigo ivory jade lilac maroon olive pearl rosy ruby sage teal'.split(' ')
const ANIMALS =
  'badger beaver crane falcon finch fox gecko heron ibex koala lark lynx marten moose otter owl panda quail robin seal stoat swan tapir wren'.split(
    ' ',
  )
const pick = (words: string[]) => words[randomInt(words.length)] as string // the lists are not empty

export interface Identified {
  readonly volunteer: VolunteerRecord
  /** Only for a newcomer. */
  readonly token?: string
}

/** The volunteer with this secret; a new one when there is none. */
export async function identify(
  store: MetadataStore,
  token: string | undefined,
  now: number,
): Promise<Identified> {
  const known = token === undefined ? null : await store.volunteerByToken(hashSecret(token))
  if (known) return { volunteer: known }
  const fresh = newSecret()
  const id = newId()
  const name = `${pick(COLOURS)}-${pick(ANIMALS)}-${randomInt(10, 100)}`
  await store.createVolunteer({ id, name, tokenHash: hashSecret(fresh), now })
  const nothing = { backend: null, device: '', tokensPerSecond: null, removed: null }
  return { volunteer: { id, name, ...nothing, lastSeenAt: now }, token: fresh }
}
