/** What "Scaling Laws for DiLoCo" (arXiv 2503.09799v1) has published: tables 4, 7, 8, 9, 10 and 11. */
import type { PowerLaw } from './fit.ts'

/** M of DiLoCo, or data parallelism. */
export const METHODS = ['data parallel', 'M=1', 'M=2', 'M=4', 'M=8'] as const
export type Method = (typeof METHODS)[number]

export const replicasOf = (method: Method): number =>
  method === 'data parallel' ? 1 : Number(method.slice(2))

/** Table 4: evaluation loss by parameters, in the order of METHODS. */
export const LOSSES: readonly (readonly [parameters: number, losses: readonly number[]])[] = [
  [35e6, [3.485, 3.482, 3.508, 3.554, 3.621]],
  [90e6, [3.167, 3.162, 3.182, 3.213, 3.265]],
  [180e6, [2.95, 2.943, 2.957, 2.981, 3.019]],
  [335e6, [2.784, 2.777, 2.788, 2.808, 2.841]],
  [550e6, [2.653, 2.645, 2.657, 2.673, 2.698]],
  [1.3e9, [2.46, 2.451, 2.464, 2.472, 2.493]],
  [2.4e9, [2.326, 2.317, 2.323, 2.332, 2.351]],
]

type Coefficients = Omit<PowerLaw, 'beta'>

/** Table 7. */
export const LOSS_LAWS: Readonly<Record<Method, Coefficients>> = {
  'data parallel': { a: 18.129, alpha: -0.0953 },
  'M=1': { a: 18.363, alpha: -0.0961 },
  'M=2': { a: 18.768, alpha: -0.0969 },
  'M=4': { a: 19.762, alpha: -0.0992 },
  'M=8': { a: 21.051, alpha: -0.1018 },
}

/** Table 8: the inner learning rate. */
export const RATE_LAWS: Readonly<Record<Method, Coefficients>> = {
  'data parallel': { a: 16319.2, alpha: -0.819 },
  'M=1': { a: 74620.6, alpha: -0.945 },
  'M=2': { a: 3978.82, alpha: -0.78 },
  'M=4': { a: 4512.99, alpha: -0.789 },
  'M=8': { a: 618986, alpha: -1.102 },
}

/** Table 9: the global batch in sequences of 2,048 tokens. */
export const BATCH_LAWS: Readonly<Record<Method, Coefficients>> = {
  'data parallel': { a: 0.22592, alpha: 0.281 },
  'M=1': { a: 0.01361, alpha: 0.435 },
  'M=2': { a: 0.00769, alpha: 0.479 },
  'M=4': { a: 0.00535, alpha: 0.51 },
  'M=8': { a: 0.01859, alpha: 0.455 },
}

/** Table 10. */
export const JOINT_LAWS = {
  loss: { a: 19.226, alpha: -0.0985, beta: 0.0116 },
  rate: { a: 22256, alpha: -0.8827, beta: 0.2929 },
  batch: { a: 0.00709, alpha: 0.4695, beta: 0.3399 },
} as const satisfies Record<string, PowerLaw>

/** Table 11: |log L − log L̂| at 2.4 B, fitted to the smaller ones. */
export const HELD_OUT_LOSS = {
  alone: { 'M=1': 0.011, 'M=2': 0.0099, 'M=4': 0.012, 'M=8': 0.014 },
  jointly: { 'M=1': 0.019, 'M=2': 0.013, 'M=4': 0.0082, 'M=8': 0.0076 },
} as const
