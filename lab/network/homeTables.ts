/** Volunteers at home: what each setting of the protocol costs in time, and what the coordinator has to carry. */
import { CODEC_NAMES, type CodecName } from '../../shared/codec/codec.ts'
import { PRESETS } from '../../shared/model/config.ts'
import { flopsPerToken } from '../../shared/model/flops.ts'
import { parameterCount } from '../../shared/model/layout.ts'
import { chartOf } from '../common/chart.ts'
import type { Table } from '../common/table.ts'
import { HOME, type Protocol, traffic, trainingShare, uplinkFor } from './home.ts'
import { TARGETS } from './paper.ts'

const SIZES = ['mini', '35m', '90m', '330m'] as const
type Size = (typeof SIZES)[number]
/** Sequences of an inner step of one volunteer. */
const BATCH = 8
/** A volunteer's downlink over its uplink. */
const RATIO = 5
const BASE = { innerSteps: 100, fragments: 1, overlap: false, group: 1 }

const secondsAStep = (size: Size, teraflops: number) =>
  (flopsPerToken(PRESETS[size]) * BATCH * PRESETS[size].sequenceLength) / (teraflops * 1e12)

const parametersOf = (size: Size) => parameterCount(PRESETS[size])
const downlinkOf = (codec: CodecName): CodecName => (codec === 'f32' ? 'f32' : 'int8')
const protocolOf = (codec: CodecName, change: Partial<Protocol> = {}): Protocol => ({
  codec,
  downlink: downlinkOf(codec),
  ...BASE,
  ...change,
})

export const homeTables = (teraflops: number): Table[] => [
  shareTable(teraflops),
  uplinkTable(teraflops),
  groupTable(teraflops),
]

const INNER_STEPS = [10, 30, 100, 300]

const shareTable = (teraflops: number): Table => ({
  id: 'home-share',
  title: `At home (10/50 Mbit/s, 30 ms), ${teraflops} TFLOP/s: share of time in inner steps`,
  columns: ['preset', 's/step', 'codec', 'overlap', ...INNER_STEPS.map((h) => `H=${h}`)],
  rows: SIZES.flatMap((size) =>
    CODEC_NAMES.flatMap((codec) =>
      [false, true].map((overlap) => [
        size,
        secondsAStep(size, teraflops),
        codec,
        overlap ? 'yes' : 'no',
        ...INNER_STEPS.map((innerSteps) => {
          const protocol = protocolOf(codec, { innerSteps, overlap })
          return trainingShare(parametersOf(size), secondsAStep(size, teraflops), protocol, HOME)
        }),
      ]),
    ),
  ),
  note: `Steps of ${BATCH} sequences. The downlink is int8, f32 beside f32. Everybody is equally fast and the coordinator takes no time.`,
})

const uplinkTable = (teraflops: number): Table => ({
  id: 'home-uplink',
  title: `35m, H = 100, ${teraflops} TFLOP/s: uplink for a share of time in inner steps, Mbit/s`,
  columns: ['codec', 'P', 'overlap', 'group', ...TARGETS.map((target) => `${100 * target} %`)],
  rows: CODEC_NAMES.flatMap((codec) =>
    [
      { fragments: 1, overlap: false, group: 1 },
      { fragments: 4, overlap: false, group: 1 },
      { fragments: 1, overlap: true, group: 1 },
      { fragments: 4, overlap: true, group: 1 },
      { fragments: 1, overlap: true, group: 8 },
    ].map((change) => [
      codec,
      change.fragments,
      change.overlap ? 'yes' : 'no',
      change.group,
      ...TARGETS.map((target) => {
        const link = { latency: HOME.latency, ratio: RATIO }
        const protocol = protocolOf(codec, change)
        const up = uplinkFor(target, parametersOf('35m'), secondsAStep('35m', teraflops), protocol, link)
        return up === null ? null : up / 1e6
      }),
    ]),
  ),
  note: `The downlink is ${RATIO} times as fast. Fragments alone save no waiting in this model, they level the traffic; overlap does.`,
})

const GROUPS = [1, 2, 4, 8, 16]
const VOLUNTEERS = 64

/** By what volunteers and the coordinator move in a second when everybody trains without a break. */
const groupTable = (teraflops: number): Table => ({
  id: 'home-groups',
  title: `35m, int4, H = 100, ${VOLUNTEERS} volunteers, overlap: what groups of k move, Mbit/s`,
  columns: ['k', 'volunteer up', 'volunteer down', 'coordinator in', 'coordinator out'],
  rows: GROUPS.map((group) => {
    const bytes = traffic(parametersOf('35m'), protocolOf('int4', { group }))
    const round = BASE.innerSteps * secondsAStep('35m', teraflops)
    const rate = (count: number) => (8 * count) / round / 1e6
    return [
      group,
      rate(bytes.up),
      rate(bytes.down),
      VOLUNTEERS * rate(bytes.coordinatorIn),
      VOLUNTEERS * rate(bytes.coordinatorOut),
    ]
  }),
})

export const homePlots = (teraflops: number) => [
  {
    id: 'home-share',
    title: 'Share of time in inner steps by uplink',
    svg: chartOf({
      title: '35m, H = 100, no overlap: share of time in inner steps',
      x: { label: 'uplink, Mbit/s', log: true },
      y: { label: 'share', range: [0, 1] },
      series: CODEC_NAMES.map((codec) => ({
        name: codec,
        draw: 'line' as const,
        points: Array.from({ length: 41 }, (_, i) => 10 ** (-1 + i / 10)).map((mbit) => {
          const link = { up: mbit * 1e6, down: RATIO * mbit * 1e6, latency: HOME.latency }
          const seconds = secondsAStep('35m', teraflops)
          return { x: mbit, y: trainingShare(parametersOf('35m'), seconds, protocolOf(codec), link) }
        }),
      })),
    }),
  },
]
