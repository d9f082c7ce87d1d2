/** Table 6 beside ours, and what codecs, fragments and overlap make of its 10 B rows. */
import { CODEC_NAMES, CODECS } from '../../shared/codec/codec.ts'
import type { Table } from '../common/table.ts'
import { CHINCHILLA, gridIndexOf, STREAMING, TABLE_6, TARGETS } from './paper.ts'
import { BACKWARD, BITS, GRID, gridIndexFor, type Synchronising } from './utilisation.ts'

const columns = TARGETS.map((target) => `${100 * target} %`)
const gbitAt = (index: number): number | string =>
  index < GRID.length ? Number((GRID[index] ?? 0).toPrecision(4)) : '> 1000'

const distances = (): number[] =>
  TABLE_6.flatMap(({ architecture, innerSteps, gbits }) =>
    TARGETS.map(
      (target, i) => gridIndexFor(target, architecture, { innerSteps }) - gridIndexOf(gbits[i] ?? 0),
    ),
  )

export function utilisationFindings(): string[] {
  const all = distances()
  const same = all.filter((distance) => distance === 0).length
  const one = all.filter((distance) => Math.abs(distance) === 1).length
  return [
    `Table 6: ${same} of ${all.length} cells are the paper’s, ${one} are one step of its grid (21 %) away, ${all.length - same - one} further. Two numbers are fitted: ${BITS} bits a parameter and a backward pass of ${BACKWARD} of a step.`,
  ]
}

export const utilisationTables = (): Table[] => [tableSix(), codecTable(), streamingTable()]

const tableSix = (): Table => ({
  id: 'utilisation',
  title: 'Gbit/s for a compute utilisation: ours (the paper’s)',
  columns: ['architecture', 'H', ...columns],
  rows: TABLE_6.map(({ architecture, innerSteps, gbits }) => [
    architecture.name,
    innerSteps,
    ...TARGETS.map(
      (target, i) => `${gbitAt(gridIndexFor(target, architecture, { innerSteps }))} (${gbits[i]})`,
    ),
  ]),
})

/** Bytes of a large model over those of two bytes a parameter. */
const shareOf = (codec: (typeof CODEC_NAMES)[number]) => CODECS[codec].byteLength(2 ** 20) / 2 ** 21

const WAYS: readonly (readonly [string, Omit<Synchronising, 'innerSteps'>])[] = [
  ['whole', {}],
  ['16 fragments', { fragments: 16 }],
  ['16 fragments, overlap of a step', { fragments: 16, overlapSteps: 1 }],
]

const codecTable = (): Table => ({
  id: 'utilisation-codecs',
  title: 'Chinchilla 10B, H = 100: Gbit/s with our codecs',
  columns: ['codec', 'synchronised', ...columns],
  rows: CODEC_NAMES.flatMap((codec) =>
    WAYS.map(([name, how]) => [
      codec,
      name,
      ...TARGETS.map((target) =>
        gbitAt(gridIndexFor(target, CHINCHILLA, { innerSteps: 100, share: shareOf(codec), ...how })),
      ),
    ]),
  ),
  note: 'The same codec both ways. Below 0.1 Gbit/s the grid ends.',
})

/** FP4 beside bf16 is a quarter. */
const STREAMING_WAYS: readonly Omit<Synchronising, 'innerSteps'>[] = [
  {},
  { fragments: 16 },
  { fragments: 16, overlapSteps: 1 },
  { fragments: 16, overlapSteps: 1, share: 1 / 4 },
]

const streamingTable = (): Table => ({
  id: 'utilisation-streaming',
  title: 'Streaming DiLoCo 10B, H = 100: Gbit/s, ours (its table 4)',
  columns: ['method', ...columns],
  rows: STREAMING.map(({ name, gbits }, row) => [
    name,
    ...TARGETS.map((target, i) => {
      const synchronising = { innerSteps: 100, ...STREAMING_WAYS[row] }
      return `${gbitAt(gridIndexFor(target, CHINCHILLA, synchronising))} (${gbits[i]})`
    }),
  ]),
  note: 'Not fitted to this table, which has slightly other numbers for DiLoCo itself than table 6.',
})
