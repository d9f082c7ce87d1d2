/** What the charts of zero-shot tasks show, worked out without a canvas. TaskCharts.tsx draws it. */
import type { TaskResult } from '../../shared/protocol/evaluation.ts'

/** Each task's results, oldest first. */
export function byTask(results: readonly TaskResult[]): { task: string; results: TaskResult[] }[] {
  const names = [...new Set(results.map(({ task }) => task))].sort()
  const of = (name: string) => results.filter(({ task }) => task === name).sort((a, b) => a.round - b.round)
  return names.map((task) => ({ task, results: of(task) }))
}

/** Lowest and highest accuracy to show: chance, and every result with its standard error, with a tenth of air. */
export function accuracyRange(results: readonly TaskResult[]): [number, number] {
  const values = results.flatMap(({ plain, normalised, chance }) => [
    chance,
    plain.accuracy,
    normalised.accuracy - normalised.standardError,
    normalised.accuracy + normalised.standardError,
  ])
  const [low, high] = [Math.min(...values), Math.max(...values)]
  const air = Math.max((high - low) / 10, 0.01)
  return [Math.max(0, low - air), Math.min(1, high + air)]
}

export interface Box {
  readonly width: number
  readonly height: number
}

/** From round and accuracy to places in the box; a single round stands in the middle. */
export function placesIn({ width, height }: Box, results: readonly TaskResult[]) {
  const [low, high] = accuracyRange(results)
  const [first, last] = [results[0]?.round ?? 0, results.at(-1)?.round ?? 0]
  return {
    x: (round: number) => (last === first ? width / 2 : ((round - first) / (last - first)) * width),
    y: (accuracy: number) => height - ((accuracy - low) / (high - low)) * height,
  }
}
