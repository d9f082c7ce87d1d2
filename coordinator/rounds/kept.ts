/**
 * [R10] What outlives a restart, in pieces: each field of the state is one, and each entry of its books. An event changes few
 * of them, so keeping what has changed costs what the event does, however much the round has. Not kept is who is present,
 * and what is remembered of those who have no part in the round under way; nor what follows from the rest (state.ts).
 */
import type { Difference } from './book.ts'
import type { Machine, Pace } from './state.ts'

/** A field, whose id is empty, or an entry of a book. */
export interface Piece {
  readonly part: string
  readonly id: string
  /** As it is to be kept, as JSON; undefined when it is no more. */
  readonly value: unknown
}

type BookName = 'leases' | 'accepted' | 'refusals' | 'replicas' | 'paces'
type Forgotten = 'median' | 'present' | 'gone' | 'contributed' | 'eligible'

/** A row for each, so that the compiler names one that is forgotten. */
const FIELDS: Record<Exclude<keyof Machine, BookName | Forgotten | 'pool'>, true> = {
  run: true,
  config: true,
  parameters: true,
  sequenceLength: true,
  sequencesPerEpoch: true,
  status: true,
  phase: true,
  round: true,
  era: true,
  fragments: true,
  openedAt: true,
  deadlineAt: true,
  remaining: true,
  extensions: true,
}

type Since = (after: Machine, before: Machine | null) => Iterable<Difference<unknown>>
/** Of books that are kept as they are. */
const BOOKS: Record<Exclude<BookName, 'paces'> | 'returned', Since> = {
  leases: (after, before) => after.leases.byId.since(before?.leases.byId),
  accepted: (after, before) => after.accepted.since(before?.accepted),
  refusals: (after, before) => after.refusals.since(before?.refusals),
  replicas: (after, before) => after.replicas.since(before?.replicas),
  returned: (after, before) => after.pool.returned.byFirst.since(before?.pool.returned.byFirst),
}

/** What has to be written to keep this state where that of `before` is kept; before null nothing is. */
export function* changes(before: Machine | null, after: Machine): Generator<Piece> {
  for (const part of Object.keys(FIELDS) as (keyof typeof FIELDS)[]) // it has no other keys
    if (before?.[part] !== after[part]) yield { part, id: '', value: after[part] }
  const { epoch, cursor } = after.pool
  if (before?.pool.epoch !== epoch || before.pool.cursor !== cursor)
    yield { part: 'pool', id: '', value: { epoch, cursor } }
  for (const [part, since] of Object.entries(BOOKS)) {
    for (const { id, after: value } of since(after, before)) yield { part, id, value }
  }
  for (const volunteer of mayHaveChanged(before, after)) {
    const value = keptPace(after, volunteer)
    if ((before ? keptPace(before, volunteer) : undefined) !== value)
      yield { part: 'paces', id: volunteer, value }
  }
}

/** Of those alone who have a part in the round under way or the next. */
const keptPace = ({ leases, contributed, paces }: Machine, volunteer: string): Pace | undefined =>
  leases.holds(volunteer) || contributed.has(volunteer) ? paces.get(volunteer) : undefined

/** Volunteers whose pace may have to be kept, or not any more. */
function mayHaveChanged(before: Machine | null, after: Machine): Set<string> {
  const volunteers = new Set<string>()
  const note = <T>(differences: Iterable<Difference<T>>, of: (id: string, value: T) => string) => {
    for (const { id, before, after } of differences)
      for (const value of [before, after]) if (value !== undefined) volunteers.add(of(id, value))
  }
  note(after.paces.since(before?.paces), (id) => id)
  note(after.leases.byId.since(before?.leases.byId), (_, { volunteer }) => volunteer)
  note(after.accepted.since(before?.accepted), (_, { volunteer }) => volunteer)
  return volunteers
}

/** The state that pieces make: for machineSchema, which tells whether it is one. */
export function joined(pieces: Iterable<Piece>): unknown {
  const fields = new Map<string, unknown>()
  const books = new Map<string, [id: string, value: unknown][]>(
    [...Object.keys(BOOKS), 'paces'].map((part) => [part, []]),
  )
  for (const { part, id, value } of pieces) {
    const entries = books.get(part)
    if (entries) entries.push([id, value])
    else fields.set(part, value)
  }
  const { returned, ...records } = Object.fromEntries(
    Array.from(books, ([part, entries]) => [part, Object.fromEntries(entries)]),
  )
  const pool = { ...Object(fields.get('pool')), returned: Object.values(returned ?? {}) }
  return { ...Object.fromEntries(fields), ...records, pool }
}
