/** The English table. It is one object, written in two parts so that each page’s sentences can be read at once. */
import { adminEnglish } from './englishAdmin.ts'
import { volunteerEnglish } from './englishVolunteer.ts'
import { count } from './format.ts'

export const english = {
  appName: 'Potluck',
  unknown: '–',
  perSecond: 'tokens/s',
  theme: { legend: 'Theme', system: 'System', light: 'Light', dark: 'Dark' },
  backend: { webgpu: 'WebGPU', webgl: 'WebGL', wasm: 'Wasm' },
  hardware: { webgpu: 'GPU', webgl: 'GPU', wasm: 'CPU' },
  runStatus: {
    preparing: 'Preparing',
    ready: 'Ready to start',
    running: 'Running',
    paused: 'Paused',
    completed: 'Completed',
    ended: 'Ended',
    failed: 'Failed',
  },
  phase: { gathering: 'Gathering', training: 'Training', merging: 'Merging' },
  rejection: {
    'unknown-lease': 'The coordinator never gave out its lease.',
    'not-your-lease': 'Its lease belongs to another volunteer.',
    stale: 'It came after the round had closed.',
    lapsed: 'Its lease had ended: the tab was away, or an earlier update was not used.',
    early: 'Its round had not begun yet.',
    duplicate: 'An update for the same lease was in already.',
    'wrong-length': 'Its length does not match the model.',
    'hash-mismatch': 'It was damaged on the way.',
    'not-finite': 'It held invalid numbers, often a graphics-driver fault.',
    'too-large-step': 'It moved the model further than its steps can.',
    'bad-steps': 'It claims more steps than the lease asked for.',
    removed: 'The operator removed the volunteer.',
  },
  chart: {
    title: 'Loss',
    metric: 'What is drawn',
    metrics: { loss: 'Loss', perplexity: 'Perplexity', bits: 'Bits per byte' },
    units: {
      loss: 'Cross entropy, nats per token: lower is better. Horizontal: accepted tokens.',
      perplexity:
        'Perplexity, the exponential of the loss: among how many tokens the model is as good as guessing. Lower is better. Horizontal: accepted tokens.',
      bits: 'Bits for a byte of held-out text, comparable across tokenizers: lower is better. Horizontal: accepted tokens.',
    },
    linesBits: 'Held-out text only.',
    measures: (perplexity: string, more: string) => ` (perplexity ${perplexity}${more})`,
    bitsMore: (bits: string) => `, ${bits} bits per byte`,
    heldOut: 'Held-out',
    training: 'Training',
    lines: 'Solid: held-out. Dashed: training.',
    linesSmoothed: 'Solid: held-out. Dashed: training, smoothed 0.6; thin: as measured.',
    scaleFull: 'Linear scale, full range.',
    scaleClipped: 'Linear scale; the steep start is cut off.',
    scaleLog: 'Logarithmic scale.',
    showTable: 'Table',
    showChart: 'Chart',
    csv: 'CSV',
    log: 'Log scale',
    fullRange: 'Full range',
    hint: 'Point at the chart, or focus it and press the arrow keys, to read one round.',
    label: 'Loss by accepted tokens. Arrow keys move from round to round, Escape leaves.',
    caption: 'Loss by round, newest first',
    page: (first: string, last: string, all: string) => `${first} to ${last} of ${all}`,
    newer: 'Newer',
    older: 'Older',
    columns: {
      round: 'Round',
      tokens: 'Tokens',
      heldOut: 'Held-out loss',
      perplexity: 'Perplexity',
      bits: 'Bits per byte',
      training: 'Training loss',
      replicas: 'Updates',
      closed: 'Closed',
    },
    untrained: 'Untrained',
    empty: 'No round has finished yet. The first point comes after round 1.',
    emptyBy: (time: string) =>
      `No round has finished yet. The first point comes after round 1, about ${time}.`,
    summaryNone: 'No round has finished yet.',
    summaryFirst: (loss: string) =>
      `The untrained model’s held-out loss is ${loss}. No round has finished yet.`,
    summary: (loss: string, rounds: number) => `Held-out loss ${loss} after ${count(rounds, 'round')}.`,
    summaryFrom: (loss: string, change: string, from: string, rounds: number) =>
      `Held-out loss ${loss}, ${change} from ${from} untrained, ${count(rounds, 'round')}.`,
    summaryTraining: (loss: string, rounds: number) =>
      `Training loss ${loss} after ${count(rounds, 'round')}; held-out loss is not measured yet.`,
    down: (by: string) => `down ${by}`,
    up: (by: string) => `up ${by}`,
    unchanged: 'unchanged',
    point: (p: {
      name: string
      tokens: string
      heldOut: string
      measures: string
      training: string
      more: string
    }) =>
      `${p.name}: ${p.tokens} tokens, held-out ${p.heldOut}${p.measures}, training ${p.training}${p.more}`,
    pointMore: (replicas: number, time: string) => `, ${count(replicas, 'update')}, ${time}`,
  },
  tasks: {
    title: 'Zero-shot tasks',
    lines:
      'Accuracy by round: higher is better. Solid: by likelihood divided by length, with its standard error. Dashed: by likelihood. Dotted: guessing.',
    value: (accuracy: string, error: string) => `${accuracy} ± ${error}`,
    summary: (t: { round: string; normalised: string; plain: string; chance: string }) =>
      `After round ${t.round}: ${t.normalised} normalised, ${t.plain} plain; guessing gives ${t.chance}.`,
    caption: (task: string) => `Accuracy in ${task} by round, newest first`,
    columns: {
      round: 'Round',
      normalised: 'Normalised',
      plain: 'Plain',
      chance: 'Chance',
      examples: 'Examples',
    },
  },
  round: (round: string) => `Round ${round}`,
  measuring: (settled: string, slices: string, round: string) =>
    `volunteers measure ${round === '0' ? 'the untrained model' : `round ${round}`}: ${settled} of ${slices} slices`,
  volunteer: volunteerEnglish,
  admin: adminEnglish,
}
