/** Over whom a mean is taken, and by whom: rule X2 of RULES.md. Pure arithmetic. */

export interface Choice {
  /** Members of the mean, ascending. */
  readonly set: readonly number[]
  /** Of those, who reduce their slices. All other slices the set brings itself. */
  readonly reducers: ReadonlySet<number>
}

/**
 * The set whose slices its reducers all hold with which the fewest bytes come to the coordinator: one slice from each
 * reducer, of a slice without one the set's own, and everything from who is not in the set.
 *
 * @param present members whose slices may count
 * @param held by reducer: whose slices it holds; who has said nothing reduces nothing
 * @param slices by reducer: how many of the slices it reduces
 */
export function bestSet(
  present: readonly number[],
  held: ReadonlyMap<number, ReadonlySet<number>>,
  slices: ReadonlyMap<number, number>,
): Choice {
  const all = [...slices.values()].reduce((sum, count) => sum + count, 0)
  const able = [...held.keys()].filter((one) => slices.has(one) && present.includes(one))
  let best: Choice = { set: [], reducers: new Set() }
  let least = Number.POSITIVE_INFINITY
  // Eight members have at most 255 choices of reducers.
  for (let bits = 1; bits < 2 ** able.length; bits++) {
    const chosen = able.filter((_, i) => (bits >> i) & 1)
    const set = present.filter((member) => chosen.every((one) => held.get(one)?.has(member)))
    const reducers = chosen.filter((one) => set.includes(one))
    const reduced = reducers.reduce((sum, one) => sum + (slices.get(one) ?? 0), 0)
    const bytes = reduced + (all - reduced) * set.length + (present.length - set.length) * all
    if (set.length < 2 || bytes >= least) continue
    least = bytes
    best = { set: [...set].sort((a, b) => a - b), reducers: new Set(reducers) }
  }
  return best
}
