/**
 * Power laws fitted by least squares of logarithms, as in "Scaling Laws for DiLoCo" (arXiv 2503.09799, section 6): L, the
 * inner learning rate and the batch against N alone, and against N and M together. Pure.
 */

export interface Sample {
  /** N: parameters. */
  readonly n: number
  /** M: replicas. */
  readonly m: number
  /** Positive. */
  readonly y: number
}

/** y = a·N^α·M^β; β is 0 where M was not looked at. */
export interface PowerLaw {
  readonly a: number
  readonly alpha: number
  readonly beta: number
}

export const predicted = ({ a, alpha, beta }: PowerLaw, n: number, m: number): number =>
  a * n ** alpha * m ** beta

/** @throws RangeError when there are fewer than two sizes. */
export function fitAlone(samples: readonly Sample[]): PowerLaw {
  const [a = 0, alpha = 0] = leastSquares(
    samples.map(({ n, y }) => ({ x: [1, Math.log(n)], y: Math.log(y) })),
  )
  return { a: Math.exp(a), alpha, beta: 0 }
}

/** @throws RangeError when there are fewer than two sizes or two numbers of replicas. */
export function fitJointly(samples: readonly Sample[]): PowerLaw {
  const rows = samples.map(({ n, m, y }) => ({ x: [1, Math.log(n), Math.log(m)], y: Math.log(y) }))
  const [a = 0, alpha = 0, beta = 0] = leastSquares(rows)
  return { a: Math.exp(a), alpha, beta }
}

/** |log y − log ŷ|, as in the paper's table 11. */
export const residual = (law: PowerLaw, { n, m, y }: Sample): number =>
  Math.abs(Math.log(y) - Math.log(predicted(law, n, m)))

/** Without the largest size, and with it: the law that the others give, and how far it misses each of the largest. */
export function leaveLargestOut(
  samples: readonly Sample[],
  fitLaw: (samples: readonly Sample[]) => PowerLaw,
): { law: PowerLaw; missed: (Sample & { residual: number })[] } {
  const largest = Math.max(...samples.map(({ n }) => n))
  const law = fitLaw(samples.filter(({ n }) => n < largest))
  const held = samples.filter(({ n }) => n === largest)
  return { law, missed: held.map((sample) => ({ ...sample, residual: residual(law, sample) })) }
}

/** The coefficients that bring Σ(y − Σ c·x)² to its least, by the normal equations. */
function leastSquares(rows: readonly { x: readonly number[]; y: number }[]): number[] {
  const size = rows[0]?.x.length ?? 0
  const at = (x: readonly number[], i: number) => x[i] ?? 0
  const matrix = Array.from({ length: size }, (_, i) => [
    ...Array.from({ length: size }, (_, j) => rows.reduce((sum, { x }) => sum + at(x, i) * at(x, j), 0)),
    rows.reduce((sum, { x, y }) => sum + at(x, i) * y, 0),
  ])
  return solve(matrix)
}

/** Gaussian elimination with pivots; the last column is the right side. */
function solve(matrix: number[][]): number[] {
  const size = matrix.length
  const cell = (i: number, j: number) => matrix[i]?.[j] ?? 0
  const scale = Math.max(...matrix.map((row) => Math.abs(row[0] ?? 0)), 1)
  for (let column = 0; column < size; column++) {
    const rest = Array.from({ length: size - column }, (_, i) => column + i)
    const pivot = rest.reduce((best, i) =>
      Math.abs(cell(i, column)) > Math.abs(cell(best, column)) ? i : best,
    )
    if (Math.abs(cell(pivot, column)) < 1e-10 * scale) {
      throw new RangeError(
        'A fit needs at least two sizes, and two numbers of replicas if it looks at those.',
      )
    }
    ;[matrix[column], matrix[pivot]] = [matrix[pivot] ?? [], matrix[column] ?? []]
    for (let i = 0; i < size; i++) {
      if (i === column) continue
      const factor = cell(i, column) / cell(column, column)
      matrix[i] = (matrix[i] ?? []).map((value, j) => value - factor * cell(column, j))
    }
  }
  return matrix.map((row, i) => (row[size] ?? 0) / cell(i, i))
}
