/** Table 6 of "Scaling Laws for DiLoCo" (arXiv 2503.09799v1), and of Streaming DiLoCo (arXiv 2501.18512) table 4. */
import { type Architecture, GRID } from './utilisation.ts'

export const TARGETS = [0.5, 0.8, 0.9, 0.95, 0.99] as const

/** Layers as the models' own reports have them. */
export const CHINCHILLA: Architecture = { name: 'Chinchilla 10B', parameters: 10e9, layers: 48, seconds: 0.8 }
const LLAMA: Architecture = { name: 'Llama3 405B', parameters: 405e9, layers: 126, seconds: 26 }
const DEEPSEEK: Architecture = { name: 'DeepSeek-V3 671B', parameters: 671e9, layers: 61, seconds: 20 }

interface Row {
  readonly architecture: Architecture
  readonly innerSteps: number
  /** Gbit/s by TARGETS; the paper's "1000+" is the grid's last, 1000. */
  readonly gbits: readonly number[]
}

const rows = (architecture: Architecture, table: Readonly<Record<number, readonly number[]>>): Row[] =>
  Object.entries(table).map(([steps, gbits]) => ({ architecture, innerSteps: Number(steps), gbits }))

export const TABLE_6: readonly Row[] = [
  ...rows(CHINCHILLA, {
    1: [104.8, 184.2, 222.3, 222.3, 390.7],
    10: [16, 49.4, 86.8, 152.6, 222.3],
    50: [3, 11, 23.3, 41, 126.5],
    100: [1.4, 6.2, 13.3, 23.3, 86.8],
    300: [0.5, 2, 4.3, 9.1, 41],
  }),
  ...rows(LLAMA, {
    1: [126.5, 222.3, 268.3, 323.8, 323.8],
    10: [19.3, 72, 126.5, 184.2, 268.3],
    50: [3.6, 13.3, 28.1, 59.6, 184.2],
    100: [2, 7.5, 16, 33.9, 126.5],
    300: [0.7, 3, 6.2, 13.3, 59.6],
  }),
  ...rows(DEEPSEEK, {
    1: [323.8, 569, 686.6, 686.6, 1000],
    10: [49.4, 152.6, 268.3, 390.7, 686.6],
    50: [7.5, 33.9, 72, 126.5, 390.7],
    100: [4.3, 16, 41, 72, 268.3],
    300: [1.7, 6.2, 13.3, 28.1, 126.5],
  }),
]

/** Streaming DiLoCo, table 4: 10 B, H = 100. */
export const STREAMING: readonly { readonly name: string; readonly gbits: readonly number[] }[] = [
  { name: 'DiLoCo', gbits: [1.7, 7.5, 16, 33.9, 104.8] },
  { name: 'Streaming', gbits: [1.7, 5.2, 9.1, 13.3, 19.3] },
  { name: 'Streaming, overlap', gbits: [1.7, 3.6, 5.2, 6.2, 7.5] },
  { name: 'Streaming, overlap, FP4', gbits: [0.4, 0.9, 1.4, 1.4, 1.7] },
]

/** Which of the grid's bandwidths a published one, of two or three digits, is. */
export function gridIndexOf(gbit: number): number {
  const distance = (k: number) => Math.abs(Math.log((GRID[k] ?? 0) / gbit))
  return GRID.reduce((best, _, k) => (distance(k) < distance(best) ? k : best), 0)
}
