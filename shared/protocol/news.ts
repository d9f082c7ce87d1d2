/**
 * What tabs are told of a run as it goes on: the whole view once, then only what has changed in it. Hundreds of rounds are
 * in a view, and every tab hears of every change: whole views would be more bytes than the weights.
 */
import type { z } from 'zod'
import { LIMITS } from './limits.ts'
import { type RoundSummary, type RunView, runViewSchema } from './run.ts'

/** Of `history` the rounds that are new or have changed; everything else as it is now, if it has changed. */
export const runNewsSchema = runViewSchema.partial().required({ now: true })
export type RunNews = z.infer<typeof runNewsSchema>

/** Every k-th round by its number, k a power of two, and always the newest: what was left out once never comes back. */
export function thinned(rounds: readonly RoundSummary[]): RoundSummary[] {
  const last = rounds.at(-1)?.round ?? 0
  let every = 1
  while (last / every >= LIMITS.historyPoints) every *= 2
  return rounds.filter(({ round }) => round % every === 0 || round === last)
}

/** There is no way but the whole view to another run, and from rounds that are no more. */
export function newsBetween(before: RunView, after: RunView): RunNews | 'nothing' | 'everything' {
  if (before.id !== after.id || before.era !== after.era) return 'everything'
  const { history, now, ...rest } = after
  const changed = Object.entries(rest).filter(
    ([key, value]) => !isSame(value, before[key as keyof typeof rest]),
  )
  const known = new Map(before.history.map((one) => [one.round, one]))
  const rounds = history.filter((one) => !isSame(one, known.get(one.round)))
  if (changed.length === 0 && rounds.length === 0) return 'nothing'
  const news: RunNews = { ...Object.fromEntries(changed), ...(rounds.length > 0 && { history: rounds }), now }
  return isSame(withNews(before, news).history, history) ? news : 'everything'
}

/** News may be heard twice, and by who knows some of it already. */
export function withNews(view: RunView, { history, ...news }: RunNews): RunView {
  return { ...view, ...news, ...(history && { history: together(view.history, history) }) }
}

function together(known: readonly RoundSummary[], news: readonly RoundSummary[]): RoundSummary[] {
  const rounds = new Map([...known, ...news].map((one) => [one.round, one]))
  return thinned([...rounds.values()].sort((a, b) => a.round - b.round))
}

/** Of values that are JSON. */
const isSame = (one: unknown, other: unknown): boolean =>
  one === other || JSON.stringify(one) === JSON.stringify(other)
