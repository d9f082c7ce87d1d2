/** How far an experiment is and when it will be done, one line for each step finished. */

export interface Progress {
  /** Says what was finished. `cost` as it was given at the start. */
  done(cost: number, what: string): void
}

/** `costs` of all steps, in any unit; time is taken to go with them. `now` in milliseconds. */
export function startProgress(
  costs: readonly number[],
  say: (text: string) => void,
  now: () => number = () => performance.now(),
): Progress {
  const began = now()
  const total = costs.reduce((sum, cost) => sum + cost, 0)
  let [finished, spent] = [0, 0]
  return {
    done(cost, what) {
      finished += 1
      spent += cost
      const left = spent > 0 ? ((now() - began) / spent) * (total - spent) : 0
      say(`${finished}/${costs.length}, ${duration(Math.max(0, left))} left. ${what}`)
    },
  }
}

/** Two units at most: 12 s, 3 min 5 s, 2 h 10 min. */
export function duration(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1_000)
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}
