/** What experiments that vary one setting have in common: the loop over sizes and methods, and a plot for each size. */
import type { ModelConfig } from '../../shared/model/config.ts'
import { parameterCount } from '../../shared/model/layout.ts'
import { type Axis, chartOf, type Point } from '../common/chart.ts'
import type { Method } from '../scaling/paper.ts'
import type { Spec } from './spec.ts'
import { type Study, tunedAll } from './study.ts'
import { tunedSpec } from './tune.ts'

export interface Row {
  readonly method: Method
  /** Parameters. */
  readonly n: number
}

/** `vary` makes what it finds out of the tuned run of each model and method; in the order of models, methods, settings. */
export async function scan<Found extends object>(
  study: Study,
  models: readonly ModelConfig[],
  methods: readonly Method[],
  vary: (base: Spec) => readonly Promise<Found>[],
): Promise<(Row & Found)[]> {
  const tuned = await tunedAll(study, methods)
  const rows = models.flatMap((model) =>
    methods.flatMap((method, i) => {
      const settings = tuned[i]
      if (!settings) return []
      const row = { method, n: parameterCount(model) }
      const base = tunedSpec(study.scale, model, settings, study.codec)
      return vary(base).map(async (found) => ({ ...row, ...(await found) }))
    }),
  )
  return Promise.all(rows)
}

export interface Look {
  readonly id: string
  /** As in "Validation loss by compute". */
  readonly by: string
  readonly x: Axis
  readonly y?: Partial<Axis>
}

/** A line for each method. */
export function plotsBySize<Found extends Row>(
  rows: readonly Found[],
  { id, by, x, y }: Look,
  pointsOf: (row: Found) => readonly Point[],
) {
  const methods = [...new Set(rows.map(({ method }) => method))]
  return [...new Set(rows.map(({ n }) => n))].map((n) => ({
    id: `${id}-${n}`,
    title: `Loss by ${by}, ${n} parameters`,
    svg: chartOf({
      title: `Validation loss by ${by}, ${n} parameters`,
      x,
      y: { label: 'nats per token', ...y },
      series: methods.map((method) => ({
        name: method,
        points: rows.filter((row) => row.n === n && row.method === method).flatMap(pointsOf),
      })),
    }),
  }))
}
